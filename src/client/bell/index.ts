/**
 * `tidings/bell`: importing it defines `<tidings-bell>`. Bundled it is `/bell.js`, all that a page needs:
 * `<script type="module" src="/bell.js"></script><tidings-bell></tidings-bell>`.
 */
import { TidingsBell } from "./element.ts";

export { type Client, type ConnectOptions, connect } from "../client.ts";
export type { Labels } from "./text.ts";
export { TidingsBell };

declare global {
  interface HTMLElementTagNameMap {
    "tidings-bell": TidingsBell;
  }
}

// Loaded twice (two scripts, two versions): the first one stays.
if (globalThis.customElements && !customElements.get("tidings-bell"))
  customElements.define("tidings-bell", TidingsBell);
