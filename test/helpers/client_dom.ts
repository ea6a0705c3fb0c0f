/**
 * A document for tests in Node (happy-dom), imported for its effect before anything that looks for one. Only the page
 * comes from there: sockets, fetch and channels stay Node's own.
 */
import { Window } from "happy-dom";

export const page: Window = new Window({ url: "http://127.0.0.1/" });

const NAMES = [
  ...["document", "HTMLElement", "HTMLIFrameElement", "Node", "Element", "CustomEvent", "customElements"],
  ...["CSSStyleSheet", "ShadowRoot", "innerWidth", "MutationObserver"],
] as const;

Object.assign(globalThis, { window: page });
for (const name of NAMES) Object.assign(globalThis, { [name]: page[name as keyof Window] });
// Node has its own from version 21 on.
if (!globalThis.navigator) Object.assign(globalThis, { navigator: page.navigator });
