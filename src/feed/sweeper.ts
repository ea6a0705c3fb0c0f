/**
 * The sweep that finds whatever an announcement was lost for: slowly and jittered by itself, at once when asked, soon
 * again after one that failed, for the database comes back after its connections do.
 */
import { backoff, jitter } from "../backoff.ts";

export interface Sweeper {
  /** Sweeps now, and from then on. */
  now(): void;
  /** The same, for what all instances are told at once: not all in one moment. */
  soon(): void;
  stop(): void;
}

const SPREAD_MS = [0, 200] as const;

/** @param betweenMs least and most milliseconds between two sweeps */
export function createSweeper(
  sweep: () => Promise<void>,
  betweenMs: () => readonly [number, number],
  failed: (error: unknown) => void,
): Sweeper {
  const retry = backoff({ baseMs: 500, capMs: 5_000 });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let hurry: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;

  async function run(): Promise<void> {
    clearTimeout(timer);
    let nextMs = jitter(...betweenMs());
    try {
      await sweep();
      retry.reset();
    } catch (error) {
      nextMs = 100 + retry.next();
      failed(error);
    }
    clearTimeout(timer);
    if (!isStopped) timer = setTimeout(() => void run(), nextMs);
  }

  return {
    now() {
      if (!isStopped) void run();
    },
    soon() {
      if (isStopped) return;
      hurry ??= setTimeout(
        () => {
          hurry = undefined;
          void run();
        },
        jitter(...SPREAD_MS),
      );
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
      clearTimeout(hurry);
    },
  };
}
