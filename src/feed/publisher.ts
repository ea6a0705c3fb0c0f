/**
 * Hands envelopes to the bus, in order and in batches: what gathers while one is on its way is the next. Bounded: what
 * does not get through is dropped, and everybody is told to look into the tables as soon as something does.
 */
import type { Bus, BusMessage } from "../bus/bus.ts";
import { EVERYONE, SWEEP } from "./ear.ts";

export interface Publisher {
  put(messages: readonly BusMessage[]): void;
  /** Something may have been missed: tells all instances to look into the tables. */
  lost(): void;
  /** Resolves when what was put is on its way. */
  settled(): Promise<void>;
}

const MOST_WAITING = 50_000;

export function createPublisher(bus: Pick<Bus, "publish" | "up">, failed: (error: unknown) => void): Publisher {
  let waiting: BusMessage[] = [];
  let isLost = false;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while ((waiting.length > 0 || isLost) && bus.up) {
      const taken = waiting;
      waiting = [];
      if (isLost) taken.push({ group: EVERYONE, text: SWEEP });
      isLost = false;
      try {
        // what is too big for the engine is read instead
        if ((await bus.publish(taken)).length > 0) isLost = true;
      } catch (error) {
        isLost = true;
        failed(error);
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
    async settled() {
      await running;
    },
  };
}
