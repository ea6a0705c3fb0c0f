/**
 * Arrow keys in the panel: up and down between the notifications, Home and End to the first and last. Tab goes its
 * natural way through everything.
 */

/** Moves the focus; true when the key meant something and there was somewhere to go. */
export function moveFocus(root: ShadowRoot, key: string): boolean {
  const items = [...root.querySelectorAll<HTMLElement>(".item")].filter((item) => !item.closest("[hidden]"));
  const at = items.findIndex((item) => item.contains(root.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1, Home: 0, End: items.length - 1 }[key];
  const main = to === undefined ? undefined : items[to]?.querySelector<HTMLElement>(".item-main");
  main?.focus();
  return !!main;
}
