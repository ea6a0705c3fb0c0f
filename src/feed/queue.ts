/**
 * What an instance hands on to the others, in order and in batches: what gathers while one is on its way is the next. A
 * transaction waits until other sessions see it, and keeps nobody else. Bounded: what does not get through in time is
 * dropped, and everybody is told to look into the tables as soon as something does.
 */
import { backoff } from "../backoff.ts";
import type { BusMessage } from "../bus/bus.ts";
import { readSnapshot } from "../db/snapshot.ts";
import { sleep, within } from "../deadline.ts";
import { EVERYONE, SWEEP } from "./ear.ts";

/** What is handed on as a whole. */
export interface Load {
  /** The transaction it is of, as the WAL has it; SEEN where other sessions see it already. */
  readonly xid: number;
  readonly messages: readonly BusMessage[];
}

/** Where it goes: a bus, or NOTIFY. */
export interface Outlet {
  /**
   * Hands on what other sessions see, in order; resolves with the rest. A rejection: all of it may be lost.
   * @param signal aborted: too late, nothing more of it is to be said
   */
  hand(loads: readonly Load[], signal: AbortSignal): Promise<readonly Load[]>;
  readonly up: boolean;
}

export interface Queue {
  put(xid: number, messages: readonly BusMessage[]): void;
  /** Something may have been missed: tells all instances to look into the tables. */
  lost(): void;
  /** Resolves when what was put is on its way, or could not be handed over. */
  stop(): Promise<void>;
}

/** No transaction has this id. */
export const SEEN = 0;
export const LOST: Load = { xid: SEEN, messages: [{ group: EVERYONE, text: SWEEP }] };
/** Characters that wait at most, and that are handed on at a time. */
const MOST_WAITING = 64 * 2 ** 20;
const MOST_HANDED = 2 ** 20;
const HAND_MS = 5_000;
const MOST_LATE = 1_000;
const STUCK_MS = 3_000;
/** Milliseconds between two looks at transactions that are not seen yet, growing while no other joins them. */
const UNSEEN = { least: 1, most: 100 };
/** More than that at once is much traffic: handing on every few by itself would cost more than the wait. */
const MANY = 3;
const GATHER_MS = 2;
const RETRY = { baseMs: 50, capMs: 2_000 };

/** Those that a snapshot sees, and the others. */
export function split(loads: readonly Load[], snapshot: string): [seen: Load[], unseen: Load[]] {
  const isOver = readSnapshot(snapshot);
  const isSeen = ({ xid }: Load): boolean => xid === SEEN || isOver(xid);
  return [loads.filter(isSeen), loads.filter((load) => !isSeen(load))];
}

const lengthOf = (loads: readonly Load[]): number =>
  loads.reduce((sum, { messages }) => messages.reduce((length, { text }) => length + text.length, sum), 0);

/**
 * Has everybody look into the tables instead, once what was in the loads is to be seen there. Commits are seen in their
 * order, nearly, and no more of them are late than there are sessions: the newest stand for those before them.
 */
const lostOf = (loads: readonly Load[]): Load[] =>
  [...new Set(loads.map(({ xid }) => xid))].slice(-MOST_LATE).map((xid) => ({ ...LOST, xid }));

export interface QueueOptions {
  failed(error: unknown): void;
  /** From now on nothing has got through for seconds, or something does again. */
  stuck?(isStuck: boolean): void;
}

export function createQueue(outlet: Outlet, { failed, stuck }: QueueOptions): Queue {
  const retry = backoff(RETRY);
  const stopping = new AbortController();
  /** Handed over once and given back; goes first. */
  let rest: readonly Load[] = [];
  let waiting: Load[] = [];
  /** Characters in each. */
  let [restSize, size] = [0, 0];
  let unseenMs = UNSEEN.least;
  let arrival = new AbortController();
  let running: Promise<void> | undefined;
  let failingSince: number | undefined;
  let isStuck = false;

  function judge(now: boolean): void {
    if (now !== isStuck) stuck?.(now);
    isStuck = now;
  }

  function keep(loads: readonly Load[]): void {
    rest = loads;
    restSize = lengthOf(rest);
  }

  function take(): Load[] {
    let [count, length] = [0, 0];
    while (count < waiting.length && length < MOST_HANDED) length += lengthOf([waiting[count++]!]);
    size -= length;
    return waiting.splice(0, count);
  }

  /** Resolves when it is time for the next; with whether a stop is to wait for that. */
  async function hand(): Promise<boolean> {
    const fresh = take();
    const loads = [...rest, ...fresh];
    const giving = new AbortController();
    const begunAt = performance.now();
    try {
      keep(
        await within(outlet.hand(loads, giving.signal), HAND_MS, "Entries were not taken within 5 s.", giving.signal),
      );
    } catch (error) {
      giving.abort();
      keep(lostOf(loads));
      failingSince ??= begunAt;
      if (performance.now() - failingSince > STUCK_MS) judge(true);
      failed(error);
      await sleep(retry.next(), stopping.signal);
      return false;
    }
    retry.reset();
    failingSince = undefined;
    judge(false);
    unseenMs = fresh.length > 0 ? UNSEEN.least : Math.min(unseenMs * 2, UNSEEN.most);
    if (loads.length > MANY) await sleep(GATHER_MS, stopping.signal);
    if (waiting.length > 0 || rest.every(({ xid }) => xid === SEEN)) return true;
    arrival = new AbortController();
    await sleep(unseenMs, arrival.signal);
    return unseenMs < UNSEEN.most;
  }

  async function run(): Promise<void> {
    // those of one turn of the event loop go together
    await Promise.resolve();
    try {
      while (outlet.up && rest.length + waiting.length > 0) {
        if (!(await hand()) && stopping.signal.aborted) break;
      }
      if (rest.length + waiting.length > 0) drop();
    } finally {
      running = undefined;
    }
  }

  function drop(last?: Load): void {
    waiting = lostOf([...rest, ...waiting, ...(last ? [last] : [])]);
    size = lengthOf(waiting);
    keep([]);
  }

  function add(load: Load): void {
    const length = lengthOf([load]);
    if (restSize + size + length > MOST_WAITING) drop(load);
    else {
      waiting.push(load);
      size += length;
    }
    arrival.abort();
    running ??= run();
  }

  return {
    put: (xid, messages) => add({ xid, messages }),
    lost: () => add(LOST),
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
