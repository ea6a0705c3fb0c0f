/**
 * Holds back what was decoded until it can be read. Postgres sends a commit out of the WAL a moment before other sessions
 * see it, and for as long as it waits for a synchronous standby: whoever read the tables on hearing of it might find
 * nothing. Asks for one snapshot for all that wait; keeps the order, but lets nobody wait for another transaction.
 */

export interface Hold {
  /** Calls `deliver` once other sessions see what the transaction wrote. */
  until(xid: number, deliver: () => void): void;
  /** Forgets all that waits, for good. */
  end(): void;
}

interface Waiting {
  readonly xid: number;
  readonly deliver: () => void;
}

/** Milliseconds between two looks at one that is not seen yet, growing. */
const PAUSE = { least: 1, most: 100 };
/** More than that told of by one look is much traffic: a statement for each few would cost more than the wait. */
const MANY = 3;
const GATHER_MS = 3;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** @param snapshot pg_current_snapshot() of now, as text */
export function createHold(snapshot: () => Promise<string>, failed: (error: unknown) => void): Hold {
  let waiting: Waiting[] = [];
  let isRunning = false;
  let isOver = false;

  /** Returns how many it told of, and how many are still unseen. */
  async function look(): Promise<{ told: number; unseen: number }> {
    const asked = waiting;
    waiting = [];
    try {
      const isSeen = readSnapshot(await snapshot());
      if (isOver) return { told: 0, unseen: 0 };
      const unseen = asked.filter(({ xid }) => !isSeen(xid));
      for (const { xid, deliver } of asked) if (isSeen(xid)) deliver();
      waiting = [...unseen, ...waiting];
      return { told: asked.length - unseen.length, unseen: unseen.length };
    } catch (error) {
      failed(error);
      waiting = [...asked, ...waiting];
      return { told: 0, unseen: asked.length };
    }
  }

  async function run(): Promise<void> {
    let pause = PAUSE.least;
    while (waiting.length > 0 && !isOver) {
      const { told, unseen } = await look();
      if (unseen > 0) {
        await wait(pause);
        pause = Math.min(pause * 2, PAUSE.most);
      } else {
        pause = PAUSE.least;
        if (told > MANY) await wait(GATHER_MS);
      }
    }
    isRunning = false;
  }

  return {
    until(xid, deliver) {
      if (isOver) return;
      waiting.push({ xid, deliver });
      if (isRunning) return;
      isRunning = true;
      void run();
    },
    end() {
      isOver = true;
      waiting = [];
    },
  };
}

/** `xmin:xmax:xip,xip…` of 64-bit ids. Returns whether a transaction, by its 32-bit id, is over in it. */
export function readSnapshot(text: string): (xid: number) => boolean {
  const [, xmax = "", running = ""] = text.split(":");
  const short = (id: string): number => Number(BigInt.asUintN(32, BigInt(id)));
  const end = short(xmax);
  const open = new Set(running === "" ? [] : running.split(",").map(short));
  return (xid) => {
    const ahead = (end - xid) >>> 0;
    return ahead !== 0 && ahead < 2 ** 31 && !open.has(xid);
  };
}
