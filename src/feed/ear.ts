/** What an instance hears from the bus: the groups that somebody has a stream on here, and what is for everyone. */
import type { Bus } from "../bus/bus.ts";
import { atMost } from "../deadline.ts";

/** A group all instances are in. */
export const EVERYONE = "everyone";
/** The text that has everyone look into the tables: on the bus, and as a NOTIFY. */
export const SWEEP = '{"type":"sweep"}';
/** What is for everyone, beside that: control envelopes without a user or a room. */
const ALWAYS = [EVERYONE, "scheduler"];
/** How long an opening stream waits for its subscription; the sweep after an outage heals what comes before it. */
const PATIENCE_MS = 1_000;

export interface Ear {
  begin(): void;
  /** The first stream on a group opened here, or the last one closed. */
  follow(group: string, isWanted: boolean): void;
  /** Resolves when all that is followed by now is heard. */
  settled(): Promise<void>;
}

/** @param late a stream may have opened before its subscription: look into the tables */
export function createEar(bus: Pick<Bus, "subscribe" | "unsubscribe">, late: () => void): Ear {
  let last: Promise<unknown> = Promise.resolve();
  /** Of those that were not there in time, the last one that is looked after. */
  let waitedFor: Promise<unknown> | undefined;
  const follow = (group: string, isWanted: boolean): void => {
    if (!isWanted) bus.unsubscribe(group);
    // one that fails is made when the bus is back, and a sweep follows
    else last = Promise.all([last, bus.subscribe(group).catch(() => {})]);
  };
  return {
    begin() {
      for (const group of ALWAYS) follow(group, true);
    },
    follow,
    async settled() {
      const wanted = last;
      if ((await atMost(PATIENCE_MS, wanted)) || waitedFor === wanted) return;
      waitedFor = wanted;
      void wanted.then(late);
    },
  };
}
