/**
 * Hands envelopes to an outlet, in order and in batches: what gathers while one is on its way is the next. Bounded: what
 * does not get through is dropped, and everybody is told to look into the tables as soon as something does.
 */
import { backoff } from "../backoff.ts";
import type { Bus, BusMessage } from "../bus/bus.ts";
import { EVERYONE, SWEEP } from "./ear.ts";

/** Where it goes: a bus, or NOTIFY. */
export type Outlet = Pick<Bus, "publish" | "up">;

export interface Publisher {
  put(messages: readonly BusMessage[]): void;
  /** Something may have been missed: tells all instances to look into the tables. */
  lost(): void;
  /** Resolves when what was put is on its way, or could not be handed over. */
  stop(): Promise<void>;
}

const MOST_WAITING = 50_000;
const RETRY = { baseMs: 50, capMs: 2_000 };

export function createPublisher(outlet: Outlet, failed: (error: unknown) => void): Publisher {
  const retry = backoff(RETRY);
  let waiting: BusMessage[] = [];
  let isLost = false;
  let isStopped = false;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while ((waiting.length > 0 || isLost) && outlet.up) {
      const taken = waiting;
      waiting = [];
      if (isLost) taken.push({ group: EVERYONE, text: SWEEP });
      isLost = false;
      try {
        // what is too big for the engine is read instead
        if ((await outlet.publish(taken)).length > 0) isLost = true;
        retry.reset();
      } catch (error) {
        isLost = true;
        failed(error);
        if (isStopped) break;
        await new Promise((resolve) => setTimeout(resolve, retry.next()));
      }
    }
    if (waiting.length > 0) isLost = true;
    waiting = [];
  }

  function start(): void {
    running ??= Promise.resolve()
      .then(run)
      .finally(() => {
        running = undefined;
      });
  }

  return {
    put(messages) {
      if (waiting.length + messages.length > MOST_WAITING) {
        waiting = [];
        isLost = true;
      } else waiting.push(...messages);
      start();
    },
    lost() {
      isLost = true;
      start();
    },
    async stop() {
      isStopped = true;
      await running;
    },
  };
}
