/**
 * A platform for the client's tests: real sockets, fetch and channels; timers that run faster and are counted; locks as
 * the browser has them (Node 20 has none), shared by the "tabs" of one test.
 */
import { WebSocket } from "undici";
import type { PageEvent, Platform } from "../../src/client/index.ts";

export interface TestPlatform extends Platform {
  /** Timers that are still running. */
  timers: Set<unknown>;
  /** Tells the client what a page would. */
  page(event: PageEvent): void;
  listening(): number;
}

/** @param speed how many times faster than the clock on the wall */
export function testPlatform(speed = 20, locks?: Platform["locks"]): TestPlatform {
  const timers = new Set<unknown>();
  const hearers = new Set<(event: PageEvent) => void>();
  const start = Date.now();
  return {
    timers,
    page: (event) => {
      for (const hear of [...hearers]) hear(event);
    },
    listening: () => hearers.size,
    fetch: (input, init) => fetch(input, init),
    WebSocket: WebSocket as unknown as typeof globalThis.WebSocket,
    locks,
    BroadcastChannel: globalThis.BroadcastChannel,
    now: () => start + (Date.now() - start) * speed,
    setTimeout: (run, ms) => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        run();
      }, ms / speed);
      timers.add(timer);
      return timer;
    },
    clearTimeout: (timer) => {
      timers.delete(timer);
      clearTimeout(timer as NodeJS.Timeout);
    },
    listen: (hear, signal) => {
      hearers.add(hear);
      signal.addEventListener("abort", () => hearers.delete(hear));
    },
  };
}

interface Holder {
  run(): void;
  steal(): void;
}

/** Exclusive Web Locks of one browser [Web Locks API]: first come first served, `signal` leaves the line, `steal` takes. */
export function testLocks(): NonNullable<Platform["locks"]> {
  const lines = new Map<string, Holder[]>();
  const next = (line: Holder[]): void => line[0]?.run();

  function request(name: string, options: LockOptions, callback: (lock: Lock) => unknown): Promise<unknown> {
    const line = lines.get(name) ?? [];
    lines.set(name, line);
    return new Promise((resolve, reject) => {
      let held = false;
      const leave = (): void => {
        const at = line.indexOf(own);
        if (at < 0) return;
        line.splice(at, 1);
        if (at === 0) next(line);
      };
      const abort = (): void => reject(new DOMException("stolen or aborted", "AbortError"));
      const own: Holder = {
        run: () => {
          if (held) return;
          held = true;
          queueMicrotask(async () => {
            resolve(await callback({ name, mode: "exclusive" }));
            leave();
          });
        },
        steal: abort,
      };
      options.signal?.addEventListener("abort", () => {
        if (held) return;
        leave();
        abort();
      });
      if (options.steal) {
        line.shift()?.steal();
        line.unshift(own);
      } else line.push(own);
      next(line);
    });
  }
  return { request: request as LockManager["request"] };
}

/** Waits until `check` gives true, or says what was waited for. */
export async function until(what: string, check: () => boolean, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!check()) {
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
