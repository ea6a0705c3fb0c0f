/**
 * The network of one window, with a knife: every stream opened through its platform can be cut and mended again, as if
 * the machine had lost its network. Requests go on, so that one can still write while hearing nothing.
 */
import { browser, type PageEvent, type Platform } from "../client/platform.ts";

export interface Line {
  readonly platform: Platform;
  /** Ends all streams and lets no new one through. */
  cut(): void;
  mend(): void;
  isCut(): boolean;
}

export function line(): Line {
  const real = browser();
  const hearers = new Set<(event: PageEvent) => void>();
  const streams = new Set<() => void>();
  let isCut = false;

  const tell = (event: PageEvent): void => {
    for (const hear of [...hearers]) hear(event);
  };

  class Socket extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      if (isCut) throw new Error("The line is cut.");
      super(url, protocols);
      const end = (): void => this.close();
      streams.add(end);
      this.addEventListener("close", () => streams.delete(end));
    }
  }

  async function stream(input: RequestInfo | URL, init: RequestInit): Promise<Response> {
    if (isCut) throw new TypeError("The line is cut.");
    const knife = new AbortController();
    const end = (): void => knife.abort();
    streams.add(end);
    init.signal?.addEventListener("abort", () => {
      streams.delete(end);
      knife.abort();
    });
    return real.fetch(input, { ...init, signal: knife.signal });
  }

  return {
    platform: {
      ...real,
      WebSocket: Socket,
      fetch: (input, init = {}) =>
        new Headers(init.headers).get("accept") === "text/event-stream" ? stream(input, init) : real.fetch(input, init),
      listen: (hear, signal) => {
        hearers.add(hear);
        signal.addEventListener("abort", () => hearers.delete(hear));
        real.listen((event) => !isCut && hear(event), signal);
      },
    },
    cut: () => {
      isCut = true;
      tell("offline");
      for (const end of [...streams]) end();
      streams.clear();
    },
    mend: () => {
      isCut = false;
      tell("online");
    },
    isCut: () => isCut,
  };
}
