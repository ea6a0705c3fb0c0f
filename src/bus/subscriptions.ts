/**
 * Which groups are wanted, and which the connection has been asked for. Changes are collected for one turn of the event
 * loop and made in one go: a storm of handshakes is a few commands, and a group that left and came back is none.
 */
import type { Link } from "./link.ts";

export interface Subscriptions {
  /** As Bus has it; `reason` is what it rejects with while there is no connection. */
  add(group: string): Promise<void>;
  remove(group: string): void;
  /** Asks a new connection for all that is wanted; resolves once it has confirmed. */
  attach(link: Link): Promise<void>;
  /** The connection is gone: whoever waits for a confirmation gets the error. */
  detach(error: Error): void;
}

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
 * @param failed a connection did not take a subscription: it is to be given up
 * @param down what to reject with while there is none
 */
export function createSubscriptions(failed: (error: unknown) => void, down: () => Error): Subscriptions {
  const wanted = new Set<string>();
  const asked = new Set<string>();
  const changed = new Set<string>();
  /** Asked for and not confirmed, by the latest batch that asks for it. */
  const waiting = new Map<string, Batch>();
  const open = new Set<Batch>();
  let next: Batch | null = null;
  let link: Link | null = null;

  const change = (group: string): void => {
    if (changed.size === 0) setImmediate(flush);
    changed.add(group);
  };

  function flush(): void {
    const [adds, drops]: [string[], string[]] = [[], []];
    for (const group of changed) {
      if (wanted.has(group) === asked.has(group)) continue;
      (wanted.has(group) ? adds : drops).push(group);
    }
    changed.clear();
    const batch = next ?? createBatch();
    next = null;
    if (link) void ask(link, adds, batch, drops);
    else batch.reject(down());
  }

  async function ask(to: Link, groups: readonly string[], batch: Batch, drops: readonly string[] = []): Promise<void> {
    open.add(batch);
    for (const group of drops) asked.delete(group);
    for (const group of groups) {
      asked.add(group);
      waiting.set(group, batch);
    }
    try {
      if (drops.length > 0) to.unsubscribe(drops);
      if (groups.length > 0) await to.subscribe(groups);
    } catch (error) {
      // The batch is rejected with all others, when the connection is given up.
      if (to === link) failed(error);
      return;
    }
    if (!open.delete(batch)) return;
    for (const group of groups) if (waiting.get(group) === batch) waiting.delete(group);
    batch.resolve();
  }

  return {
    add(group) {
      wanted.add(group);
      if (!link) {
        const refused = Promise.reject(down());
        refused.catch(() => {});
        return refused;
      }
      if (asked.has(group)) return waiting.get(group)?.promise ?? DONE;
      change(group);
      next ??= createBatch();
      return next.promise;
    },
    remove(group) {
      if (wanted.delete(group) && link) change(group);
    },
    attach(to) {
      link = to;
      const batch = createBatch();
      void ask(to, [...wanted], batch);
      return batch.promise;
    },
    detach(error) {
      link = null;
      asked.clear();
      waiting.clear();
      for (const batch of open) batch.reject(error);
      open.clear();
      next?.reject(error);
      next = null;
    },
  };
}
