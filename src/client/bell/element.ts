/**
 * `<tidings-bell>`: a bell with a badge that opens a panel of notifications, live. Attributes: `url`, `token`, `transport`,
 * `user`, `theme` (`light`, `dark`; else the system's). Property `connection`: its client, or one of the page's own, which
 * it then leaves open. Fires `tidings-open` (cancelable, detail: the notification) before a notification is followed.
 * Promises: all by keyboard, spoken by screen readers, nothing left behind when it is taken out of the page.
 */
import type { Notification } from "../../protocol/frames.ts";
import { type Client, connect } from "../client.ts";
import type { Way } from "../machine.ts";
import { EMPTY } from "../snapshot.ts";
import { claimsOf } from "../token.ts";
import { moveFocus } from "./keyboard.ts";
import { renderer } from "./render.ts";
import { STYLE } from "./style.ts";
import { LABELS, type Labels } from "./text.ts";
import { view } from "./view.ts";

// Where there is no page (a server that renders), the module can still be loaded.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

export class TidingsBell extends Base {
  static readonly observedAttributes: readonly string[] = ["url", "token", "transport", "user"];

  readonly #view = view();
  readonly #render = renderer(this.#view, {
    open: (item, event) => this.#follow(item, event),
    toggle: (item) => this.#try(item.is_read ? this.#client?.markUnread(item.id) : this.#client?.markRead(item.id)),
    remove: (item) => this.#dismiss(item),
  });
  #labels = LABELS;
  #client: Client | undefined;
  #owned = false;
  #detach = new AbortController();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    root.append(...this.#view.roots);
    this.#listen();
  }

  /** The client behind the bell; null while it is not in a page. Set one to share it with the page: it is not closed here. */
  get connection(): Client | null {
    return this.#client ?? null;
  }
  set connection(client: Client | null) {
    this.#release();
    if (client) this.#attach(client, false);
    else if (this.isConnected) this.#connect();
  }

  /** The words; what is not given stays English. */
  get labels(): Labels {
    return this.#labels;
  }
  set labels(labels: Partial<Labels>) {
    this.#labels = { ...LABELS, ...labels };
    this.#draw();
  }

  get open(): boolean {
    return !this.#view.panel.hidden;
  }
  set open(open: boolean) {
    this.#toggle(open);
  }

  connectedCallback(): void {
    if (!this.#client) this.#connect();
    this.#draw();
  }

  disconnectedCallback(): void {
    this.#toggle(false);
    // Moved within the page, it is back before the microtask: then the stream may stay.
    queueMicrotask(() => {
      if (!this.isConnected && this.#owned) this.#release();
    });
  }

  attributeChangedCallback(name: string, old: string | null, now: string | null): void {
    if (!this.#owned || old === now) return;
    // A newer token of the same user is taken up when it is needed; anything else is another connection.
    if (name === "token" && old && now && claimsOf(old).user === claimsOf(now).user) {
      if (this.#client?.getSnapshot().state === "failed") this.#client.retry();
      return;
    }
    this.#release();
    queueMicrotask(() => {
      if (this.isConnected && !this.#client) this.#connect();
    });
  }

  #connect(): void {
    const given = (name: string): string | undefined => this.getAttribute(name) ?? undefined;
    const url = given("url");
    const client = connect({
      ...(url !== undefined && { url }),
      ...(this.hasAttribute("token") && { getToken: () => this.getAttribute("token") }),
      transport: (given("transport") ?? "auto") as "auto" | Way,
      user: given("user"),
    });
    this.#attach(client, true);
  }

  #attach(client: Client, owned: boolean): void {
    this.#client = client;
    this.#owned = owned;
    this.#detach = new AbortController();
    const stops = [client.subscribe(() => this.#draw()), client.on("notification", ({ data }) => this.#announce(data))];
    this.#detach.signal.addEventListener("abort", () => {
      for (const stop of stops) stop();
    });
    this.#draw();
  }

  #release(): void {
    this.#detach.abort();
    if (this.#owned) this.#client?.close();
    this.#client = undefined;
    this.#owned = false;
    this.#draw();
  }

  #draw(): void {
    this.#render.render(this.#client?.getSnapshot() ?? EMPTY, this.#labels);
  }

  /** Says what has come, and rings; the replay at the start is old news and says nothing. */
  #announce(item: Notification): void {
    const { trigger, live } = this.#view;
    if (item.is_read || item.archived || Date.now() - Date.parse(item.created_at) > 60_000) return;
    live.textContent = this.#labels.arrived(item.title || item.message);
    trigger.classList.remove("ring");
    // Reading a size restarts the animation.
    void trigger.offsetWidth;
    trigger.classList.add("ring");
  }

  #listen(): void {
    const { trigger, markAll, older, retry } = this.#view;
    trigger.addEventListener("click", () => this.#toggle(!this.open));
    markAll.addEventListener("click", () => this.#try(this.#client?.markAllRead()));
    older.addEventListener("click", () => this.#try(this.#client?.loadMore()));
    retry.addEventListener("click", () => this.#client?.retry());
    this.shadowRoot!.addEventListener("keydown", (event) => this.#key(event as KeyboardEvent));
    this.addEventListener("focusout", ({ relatedTarget }) => {
      // Focus that went to another part of the page; null is a click or another window.
      const to = relatedTarget as Node | null;
      if (to && to !== this && !this.shadowRoot!.contains(to)) this.#toggle(false, false);
    });
  }

  #key(event: KeyboardEvent): void {
    if (!this.open) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#toggle(false);
    } else if (moveFocus(this.shadowRoot!, event.key)) event.preventDefault();
  }

  readonly #outside = (event: Event): void => {
    if (!event.composedPath().includes(this)) this.#toggle(false, false);
  };

  #toggle(open: boolean, focus = true): void {
    const { trigger, panel, heading, scroll } = this.#view;
    if (panel.hidden !== open) return;
    panel.hidden = !open;
    trigger.setAttribute("aria-expanded", `${open}`);
    this.#render.settle();
    this.#draw();
    if (open) {
      // It hangs from the button's end, unless it would stick out of the page there.
      panel.classList.remove("start");
      const { left, right } = panel.getBoundingClientRect();
      panel.classList.toggle("start", left < 0 || right > innerWidth);
      scroll.scrollTop = 0;
      document.addEventListener("pointerdown", this.#outside);
      heading.focus();
    } else {
      document.removeEventListener("pointerdown", this.#outside);
      if (focus) trigger.focus();
    }
  }

  #follow(item: Notification, event: MouseEvent): void {
    if (!item.is_read) this.#try(this.#client?.markRead(item.id));
    const opened = new CustomEvent("tidings-open", { detail: item, bubbles: true, composed: true, cancelable: true });
    if (!this.dispatchEvent(opened)) event.preventDefault();
  }

  #dismiss(item: Notification): void {
    // The focused button goes with its item: the next one in line takes the focus.
    moveFocus(this.shadowRoot!, "ArrowDown") || moveFocus(this.shadowRoot!, "ArrowUp") || this.#view.heading.focus();
    this.#try(this.#client?.remove(item.id));
  }

  /** What was shown is already taken back when this fails; it only has to be said. */
  #try(request: Promise<unknown> | undefined): void {
    request?.catch(() => {
      this.#view.live.textContent = this.#labels.refused;
    });
  }
}
