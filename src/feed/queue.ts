/**
 * What an instance hands on to the others, in order and in batches: what gathers while one is on its way is the next. A
 * transaction waits until other sessions see it, and keeps nobody else. Bounded: what does not get through is dropped,
 * and everybody is told to look into the tables as soon as something does.
 */
import { backoff } from "../backoff.ts";
import type { BusMessage } from "../bus/bus.ts";
import { readSnapshot } from "../db/snapshot.ts";
import { sleep } from "../deadline.ts";
import { EVERYONE, SWEEP } from "./ear.ts";

/** What is handed on as a whole. */
export interface Load {
  /** The transaction it is of, as the WAL has it; SEEN where other sessions see it already. */
  readonly xid: number;
  readonly messages: readonly BusMessage[];
}

/** Where it goes: a bus, or NOTIFY. */
export interface Outlet {
  /** Hands on what other sessions see, in order; resolves with the rest. A rejection: all of it may be lost. */
  hand(loads: readonly Load[]): Promise<readonly Load[]>;
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
const MOST_WAITING = 50_000;
/** Milliseconds between two looks at a transaction that is not seen yet, growing. */
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

export function createQueue(outlet: Outlet, failed: (error: unknown) => void): Queue {
  const retry = backoff(RETRY);
  const stopping = new AbortController();
  let waiting: Load[] = [];
  /** Messages in `waiting`. */
  let size = 0;
  let unseenMs = UNSEEN.least;
  let running: Promise<void> | undefined;

  function fill(loads: Load[]): void {
    waiting = loads;
    size = waiting.reduce((sum, { messages }) => sum + messages.length, 0);
  }

  /** Resolves with how long to wait before the next. */
  async function hand(): Promise<number> {
    const loads = waiting;
    fill([]);
    try {
      const rest = await outlet.hand(loads);
      retry.reset();
      fill([...rest, ...waiting]);
      const isUnseen = rest.some(({ xid }) => xid !== SEEN);
      unseenMs = isUnseen ? Math.min(unseenMs * 2, UNSEEN.most) : UNSEEN.least;
      return isUnseen ? unseenMs : loads.length > MANY ? GATHER_MS : 0;
    } catch (error) {
      failed(error);
      fill([LOST, ...waiting]);
      return retry.next();
    }
  }

  async function run(): Promise<void> {
    // those of one turn of the event loop go together
    await Promise.resolve();
    while (waiting.length > 0 && outlet.up) {
      const pauseMs = await hand();
      if (stopping.signal.aborted && pauseMs > GATHER_MS) break;
      if (pauseMs > 0) await sleep(pauseMs, stopping.signal);
    }
    if (waiting.length > 0) fill([LOST]);
  }

  function add(load: Load): void {
    if (size + load.messages.length > MOST_WAITING) fill([LOST]);
    else {
      waiting.push(load);
      size += load.messages.length;
    }
    running ??= run().finally(() => {
      running = undefined;
    });
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
