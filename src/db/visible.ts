/**
 * Holds back what was decoded until it can be read. Postgres sends a commit out of the WAL a moment before other sessions
 * see it, and for as long as it waits for a synchronous standby: whoever read the tables on hearing of it might find
 * nothing. Asks for one snapshot for all that wait; keeps the order, but lets nobody wait for another transaction.
 */

export interface Hold {
  /** Calls `deliver` once other sessions see what the transaction wrote; where it is not urgent, some time after. */
  until(xid: number, deliver: () => void, isUrgent: boolean): void;
  /** Forgets all that waits, for good. */
  end(): void;
}

interface Waiting {
  readonly xid: number;
  readonly deliver: () => void;
}

/** Milliseconds between two looks at one that is not seen yet, growing. */
const PAUSE = { least: 1, most: 100 };
/** How long what nobody waits for may wait: somebody may open a stream for it meanwhile, and read too early to find it. */
const IDLY_MS = 50;

/** @param snapshot pg_current_snapshot() of now, as text */
export function createHold(snapshot: () => Promise<string>, failed: (error: unknown) => void): Hold {
  let waiting: Waiting[] = [];
  let isRunning = false;
  let isOver = false;
  let isPressing = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Returns how many of those that waited are still unseen. */
  async function look(): Promise<number> {
    const asked = waiting;
    waiting = [];
    try {
      const isSeen = readSnapshot(await snapshot());
      if (isOver) return 0;
      const unseen = asked.filter(({ xid }) => !isSeen(xid));
      for (const { xid, deliver } of asked) if (isSeen(xid)) deliver();
      waiting = [...unseen, ...waiting];
      return unseen.length;
    } catch (error) {
      failed(error);
      waiting = [...asked, ...waiting];
      return asked.length;
    }
  }

  async function run(): Promise<void> {
    isRunning = true;
    let pause = PAUSE.least;
    while (isPressing && !isOver) {
      isPressing = false;
      if ((await look()) === 0) pause = PAUSE.least;
      else {
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(pause * 2, PAUSE.most);
        isPressing = true;
      }
    }
    isRunning = false;
    if (waiting.length > 0) later();
  }

  function press(): void {
    isPressing = true;
    if (!isRunning) void run();
  }

  function later(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      press();
    }, IDLY_MS);
  }

  return {
    until(xid, deliver, isUrgent) {
      if (isOver) return;
      waiting.push({ xid, deliver });
      if (isUrgent) press();
      else if (!isRunning) later();
    },
    end() {
      isOver = true;
      waiting = [];
      clearTimeout(timer);
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
