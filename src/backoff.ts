/**
 * How long to wait before trying again: exponential backoff with full jitter, so that clients and instances which
 * failed together do not come back together. Shared by server and browser client; imports nothing, owns no timer.
 */

/** All times in milliseconds. */
export interface BackoffOptions {
  /** Upper bound of the first delay. Default 500. */
  readonly baseMs?: number | undefined;
  /** Upper bound of every delay. Default 20000. */
  readonly capMs?: number | undefined;
  /** A source of numbers in [0, 1). Default `Math.random`. */
  readonly random?: (() => number) | undefined;
}

export interface Backoff {
  /** The next delay in whole milliseconds: anywhere from 0 to `min(capMs, baseMs * 2^n)`, n being the failures so far. */
  next(): number;
  /** Call after a success: the next delay is a first one again. */
  reset(): void;
}

export function backoff(options: BackoffOptions = {}): Backoff {
  const { baseMs = 500, capMs = 20_000, random = Math.random } = options;
  let bound = Math.min(baseMs, capMs);
  return {
    next() {
      const delay = jitter(0, bound, random);
      bound = Math.min(bound * 2, capMs);
      return delay;
    },
    reset() {
      bound = Math.min(baseMs, capMs);
    },
  };
}

/** A random whole number of milliseconds from `minMs` to `maxMs`, both included. */
export function jitter(minMs: number, maxMs: number, random: () => number = Math.random): number {
  return Math.floor(minMs + random() * (maxMs - minMs + 1));
}
