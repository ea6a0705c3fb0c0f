/**
 * What is undone when a scenario is over, in reverse order, also what a scenario that was cut short still makes. One
 * thing that cannot be stopped does not keep the others.
 */
import process from "node:process";
import { type Child, startChild } from "./rpc.ts";

export interface Workplace {
  child<H>(script: string): Child<H>;
  undo(one: () => Promise<unknown> | unknown): void;
  /** Made when first asked for, and anew after `clear`. */
  shared<T>(make: () => T): () => T;
  clear(): Promise<void>;
  close(): Promise<void>;
}

export function createWorkplace(): Workplace {
  const done: (() => Promise<unknown> | unknown)[] = [];
  let round = 0;
  let closed = false;
  const undo: Workplace["undo"] = (one) => {
    if (!closed) done.push(one);
    else void (async () => one())().catch(() => {});
  };
  async function clear(): Promise<void> {
    round++;
    for (const one of done.splice(0).reverse()) {
      await (async () => one())().catch((error: unknown) => process.stderr.write(`bench: ${error}\n`));
    }
  }
  return {
    undo,
    clear,
    child<H>(script: string) {
      if (closed) throw new Error("the run is over");
      const one = startChild<H>(script);
      undo(() => one.stop());
      return one;
    },
    shared<T>(make: () => T) {
      let held: { round: number; one: T } | undefined;
      return () => {
        if (held?.round !== round) held = { round, one: make() };
        return held.one;
      };
    },
    async close() {
      closed = true;
      await clear();
    },
  };
}
