/**
 * Which groups are wanted, and which the connection has been asked for. Changes are collected for one turn of the event
 * loop and made in one go: a storm of handshakes is a few commands, and a group that left and came back is none. The
 * next go waits until the engine has confirmed the one before, for a client may mix up two changes of one subscription
 * that are on their way at once (node-redis does).
 */
import type { Link } from "./link.ts";

export interface Subscriptions {
  /** As Bus has it. */
  add(group: string): Promise<void>;
  remove(group: string): void;
  /** Asks a new connection for all that is wanted; resolves once it has confirmed. */
  attach(link: Link): Promise<void>;
  /** The connection is gone: whoever waits for a confirmation gets the error. */
  detach(error: Error): void;
}

/** What those who subscribed in one turn wait for. */
interface Batch {
  readonly promise: Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

function createBatch(): Batch {
  let settle!: Omit<Batch, "promise">;
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  promise.catch(() => {});
  return { promise, ...settle };
}

const DONE = Promise.resolve();

/**
 * @param failed a connection did not take a change: it is to be given up
 * @param down what to reject with while there is none
 */
export function createSubscriptions(failed: (error: unknown) => void, down: () => Error): Subscriptions {
  const wanted = new Set<string>();
  /** Confirmed, or in the batch under way. */
  const asked = new Set<string>();
  const changed = new Set<string>();
  let underWay: Batch | null = null;
  let next: Batch | null = null;
  let link: Link | null = null;
  let isScheduled = false;

  function schedule(): void {
    if (isScheduled || underWay || changed.size === 0) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      if (link && !underWay) flush(link);
    });
  }

  function flush(to: Link): void {
    const [adds, drops]: [string[], string[]] = [[], []];
    for (const group of changed) {
      if (wanted.has(group) !== asked.has(group)) (wanted.has(group) ? adds : drops).push(group);
    }
    changed.clear();
    const batch = next ?? createBatch();
    next = null;
    void make(to, adds, drops, batch);
  }

  async function make(to: Link, adds: readonly string[], drops: readonly string[], batch: Batch): Promise<void> {
    underWay = batch;
    for (const group of drops) asked.delete(group);
    for (const group of adds) asked.add(group);
    try {
      const dropped = drops.length > 0 ? to.unsubscribe(drops) : null;
      const added = adds.length > 0 ? to.subscribe(adds) : null;
      await Promise.all([dropped, added]);
    } catch (error) {
      // The batch is rejected when the connection is given up.
      if (batch === underWay) failed(error);
      return;
    }
    if (batch !== underWay) return;
    underWay = null;
    batch.resolve();
    schedule();
  }

  return {
    add(group) {
      wanted.add(group);
      if (!link) {
        const refused = Promise.reject(down());
        refused.catch(() => {});
        return refused;
      }
      if (asked.has(group)) return underWay?.promise ?? DONE;
      changed.add(group);
      schedule();
      next ??= createBatch();
      return next.promise;
    },
    remove(group) {
      if (!wanted.delete(group) || !link) return;
      changed.add(group);
      schedule();
    },
    attach(to) {
      link = to;
      changed.clear();
      const batch = createBatch();
      void make(to, [...wanted], [], batch);
      return batch.promise;
    },
    detach(error) {
      link = null;
      asked.clear();
      for (const batch of [underWay, next]) batch?.reject(error);
      underWay = null;
      next = null;
    },
  };
}
