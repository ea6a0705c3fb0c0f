/**
 * What the client takes from its surroundings: sockets, fetch, clock, timers, page events, locks and channels.
 * One seam, so that a test (or a worker, or Node) can hand in its own; `browser()` is the default everywhere else.
 */

/** What the page tells about the network and itself. */
export type PageEvent = "online" | "offline" | "visible";

export interface Platform {
  fetch: typeof fetch;
  /** Undefined where there are none: then only SSE is used. */
  WebSocket: typeof WebSocket | undefined;
  /** Both are needed to share one connection between tabs; without them each tab has its own. */
  locks: Pick<LockManager, "request"> | undefined;
  BroadcastChannel: typeof BroadcastChannel | undefined;
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  /** Hears of page events until the signal is aborted. */
  listen(hear: (event: PageEvent) => void, signal: AbortSignal): void;
}

/** The page, worker or Node process this runs in. Nothing is read before it is called. */
export function browser(): Platform {
  const here = globalThis;
  return {
    fetch: (input, init) => here.fetch(input, init),
    WebSocket: here.WebSocket,
    locks: here.navigator?.locks,
    BroadcastChannel: here.BroadcastChannel,
    now: Date.now,
    setTimeout: (run, ms) => here.setTimeout(run, ms),
    clearTimeout: (timer) => here.clearTimeout(timer as number),
    listen,
  };
}

function listen(hear: (event: PageEvent) => void, signal: AbortSignal): void {
  const page = globalThis.document;
  for (const type of ["online", "offline"] as const) {
    globalThis.addEventListener?.(type, () => hear(type), { signal });
  }
  page?.addEventListener("visibilitychange", () => page.visibilityState === "visible" && hear("visible"), { signal });
}
