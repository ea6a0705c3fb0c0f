/**
 * The life of one connection: it begins with an attempt, and ends for good with the first reason given. Whoever waits
 * for the engine waits through `until`, so that nobody waits for an answer that cannot come any more. Owns no timer
 * beyond what its callers await.
 */
import { TidingsError } from "../errors.ts";
import { asError } from "../keeper.ts";

export interface Session {
  /** Aborted when the session has ended; its reason is an Error. */
  readonly signal: AbortSignal;
  /** Notes a sign of life. */
  heard(): void;
  /** Ends it. The first reason counts. */
  end(reason: unknown): void;
  /** What `work` comes to, or the reason of the end when that is sooner. */
  until<T>(work: Promise<T>): Promise<T>;
  /** As `until`; ends the session with `text` after `ms` in which neither `work` was done nor anything heard. */
  within<T>(ms: number, text: string, work: Promise<T>): Promise<T>;
}

/** Calls `silent` when `ms` pass in which `signs` stays the same. Returns how to stop it. */
function watch(ms: number, signs: () => number, silent: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isDone = false;
  const arm = (): void => {
    const before = signs();
    timer = setTimeout(() => {
      // Not in the timer itself: after a pause of this process, the answer may be there and not yet read.
      setImmediate(() => {
        if (isDone) return;
        if (signs() === before) silent();
        else arm();
      });
    }, ms);
  };
  arm();
  return () => {
    isDone = true;
    clearTimeout(timer);
  };
}

/** Begins a session. */
export function createSession(): Session {
  const controller = new AbortController();
  const { signal } = controller;
  /** Not Promise.race with one promise of the end: that one would keep a reaction for every call until it is settled. */
  const waiting = new Set<(reason: Error) => void>();
  let signs = 0;
  const end = (reason: unknown): void => {
    if (signal.aborted) return;
    controller.abort(asError(reason));
    for (const reject of waiting) reject(signal.reason);
    waiting.clear();
  };
  const until = <T>(work: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) reject(signal.reason);
      else waiting.add(reject);
      work.then(resolve, reject).finally(() => waiting.delete(reject));
    });
  return {
    signal,
    heard() {
      signs++;
    },
    end,
    until,
    async within(ms, text, work) {
      const silent = (): void => end(new TidingsError("unavailable", text));
      const unwatch = watch(ms, () => signs, silent);
      try {
        return await until(work);
      } finally {
        unwatch();
      }
    },
  };
}
