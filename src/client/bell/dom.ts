/**
 * Builds elements from plain values: text goes in as text, never as markup, so that no notification can inject anything
 * and a strict content-security policy (trusted types too) has nothing to object to.
 */

type Props = Readonly<Record<string, string | boolean | null | undefined>>;

/** An element with attributes (null, undefined and false are left out) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAll(element, props);
  element.append(...children);
  return element;
}

/** Sets attributes; null, undefined and false remove. Untouched where nothing changes, so that nothing is announced twice. */
export function setAll(element: Element, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    const text = value === true ? "" : value;
    if (text === null || text === undefined || text === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Puts text in, where it differs. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A line icon on a 24 grid, hidden from screen readers. */
export function icon(...paths: string[]): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  setAll(svg, { viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false", class: "icon" });
  for (const d of paths) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A link that is safe to follow: http, https or relative to the page. Anything else (`javascript:`, `data:` …) is null. */
export function safeUrl(value: unknown): string | null {
  if (typeof value !== "string" || !value.trim()) return null;
  try {
    const url = new URL(value, document.baseURI);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
