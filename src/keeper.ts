/**
 * Keeps a session with a server: one at a time, made anew whenever it is lost, with jittered waits in between. There are
 * never two at once, and no timer is left after `stop()`. Owns the callbacks' errors: what they throw is reported and
 * never reaches the session.
 */
import { backoff } from "./backoff.ts";
import { sleep } from "./deadline.ts";
import { TidingsError } from "./errors.ts";

/** What a session is handed, and tells. */
export interface Life {
  /** Aborted: end. */
  readonly signal: AbortSignal;
  /** It is established. */
  onUp(): void;
  /** It was up and is over; to be called before its connection is closed. */
  onDown(reason: Error): void;
  /** It has proved that it lives. */
  onAlive(): void;
  onError(error: unknown): void;
}

export interface KeeperOptions {
  /** Runs one session. Resolves when one that was up is over; rejects when it could not be established, with the reason. */
  hold(life: Life): Promise<void>;
  onUp(): void;
  /** Once per outage: when a session is lost, or at first cannot be made. Not called by `stop()`. */
  onDown(error: Error): void;
  /** Each failed attempt, each callback that threw. Default: ignored. */
  onError?: ((error: Error) => void) | undefined;
  /** What to tell of a first error that trying again does not cure; undefined of any other. */
  mistake(error: unknown): TidingsError | undefined;
}

export interface Keeper {
  /**
   * Resolves once a session is up, and keeps trying until then. Rejects on a mistake that trying again does not cure
   * (TidingsError "configuration"), and when stopped before it is up.
   */
  start(): Promise<void>;
  /** Ends the session and all tries. Never rejects; safe in any order and more than once. */
  stop(): Promise<void>;
  /** Runs a callback of the owner. */
  call(callback: () => void): void;
}

/** Waits between tries. Jittered from 0: of many instances that lost one server, some are back at once. */
const RETRY = { baseMs: 200, capMs: 5_000 };

export function createKeeper(options: KeeperOptions): Keeper {
  const retry = backoff(RETRY);
  const stopping = new AbortController();
  const ready = createReadiness();
  const { call, report } = createGuard(options.onError);
  let everUp = false;
  let isTold = false;
  let loop: Promise<void> | undefined;

  const down = (reason: Error): void => {
    if (isTold || stopping.signal.aborted) return;
    isTold = true;
    call(() => options.onDown(reason));
  };
  const life: Life = {
    signal: stopping.signal,
    onUp() {
      everUp = true;
      isTold = false;
      call(() => options.onUp());
      ready.resolve();
    },
    onDown: down,
    // Not when it is up: a server that accepts and drops at once is to be tried ever less often.
    onAlive: () => retry.reset(),
    onError: report,
  };
  const keep = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      try {
        await options.hold(life);
      } catch (error) {
        if (stopping.signal.aborted) break;
        report(error);
        const mistake = everUp ? undefined : options.mistake(error);
        if (mistake) return ready.reject(mistake);
        down(asError(error));
      }
      await sleep(retry.next(), stopping.signal);
    }
  };

  return {
    call,
    start() {
      if (!stopping.signal.aborted) loop ??= keep();
      return ready.promise;
    },
    async stop() {
      const reason = new TidingsError("unavailable", "It was stopped before it was up.");
      stopping.abort(reason);
      await loop;
      ready.reject(reason);
    },
  };
}

export const asError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

function createReadiness(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let settle: [() => void, (error: Error) => void] | undefined;
  const promise = new Promise<void>((resolve, reject) => {
    settle = [resolve, reject];
  });
  // Whoever has called start() holds the promise itself; nobody else is to be bothered.
  promise.catch(() => {});
  return { promise, resolve: () => settle?.[0](), reject: (error) => settle?.[1](error) };
}

function createGuard(onError: ((error: Error) => void) | undefined): {
  call(callback: () => void): void;
  report(thrown: unknown): void;
} {
  const report = (thrown: unknown): void => {
    try {
      onError?.(asError(thrown));
    } catch {
      // Nobody is left to tell.
    }
  };
  const call = (callback: () => void): void => {
    try {
      callback();
    } catch (error) {
      report(error);
    }
  };
  return { call, report };
}
