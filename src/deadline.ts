/** Waiting with an end: every wait here stops when its signal is aborted, and leaves no timer behind. */
import { TidingsError } from "./errors.ts";

/** Waits `ms`, or less when the signal is aborted. Never rejects. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/** Waits until `work` is settled, at most `ms`. Never rejects. Resolves with whether it was settled. */
export function atMost(ms: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    const done = (): void => {
      clearTimeout(timer);
      resolve(true);
    };
    work.then(done, done);
  });
}

/**
 * The result of `work`, unless `ms` pass (TidingsError "unavailable" with `late` as its text) or the signal is aborted
 * (its reason) before. What `work` comes to after that is dropped, a rejection too.
 */
export function within<T>(work: Promise<T>, ms: number, late: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      act();
    };
    const aborted = (): void => settle(() => reject(signal.reason));
    const timer = setTimeout(() => settle(() => reject(new TidingsError("unavailable", late))), ms);
    signal.addEventListener("abort", aborted);
    work.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
    if (signal.aborted) aborted();
  });
}
