/**
 * The sweep that finds whatever an announcement was lost for: slowly and jittered by itself, at once when asked, soon
 * again after one that failed, for the database comes back after its connections do.
 */
import { backoff, jitter } from "../backoff.ts";

export interface Sweeper {
  /** Sweeps now, and from then on. */
  now(): void;
  stop(): void;
}

/** @param betweenMs least and most milliseconds between two sweeps */
export function createSweeper(
  sweep: () => Promise<void>,
  betweenMs: () => readonly [number, number],
  failed: (error: unknown) => void,
): Sweeper {
  const retry = backoff({ baseMs: 500, capMs: 5_000 });
  let timer: ReturnType<typeof setTimeout> | undefined;
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
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
