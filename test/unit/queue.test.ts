// What is handed on to other instances: when a transaction out of the WAL may be told of, in which order, and what is left of what fails.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readSnapshot } from "../../src/db/snapshot.ts";
import {
  createQueue,
  LOST,
  type Load,
  type Outlet,
  type Queue,
  type QueueOptions,
  SEEN,
  split,
} from "../../src/feed/queue.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("queue");
const message = (text: string): Load["messages"] => [{ group: "user_1", text }];
const quiet = { failed(): void {} };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A queue over an outlet that is up and does no more than this. */
const queueOver = (hand: Outlet["hand"], options: QueueOptions = quiet): Queue =>
  createQueue({ up: true, hand }, options);

/** Sees by its snapshots in turn, by the last one for ever; "error" is a failure. */
function outlet(snapshots: readonly string[]): Outlet & { readonly handed: string[][]; up: boolean } {
  const handed: string[][] = [];
  let asked = 0;
  return {
    handed,
    up: true,
    async hand(loads) {
      const snapshot = snapshots[Math.min(asked++, snapshots.length - 1)]!;
      await pause(1);
      if (snapshot === "error") throw new Error("away");
      const [seen, unseen] = split(loads, snapshot);
      handed.push(seen.flatMap(({ messages }) => messages.map(({ text }) => text)));
      return unseen;
    },
  };
}

test("a transaction is over below xmax unless it is listed, also where its short id has come round", () => {
  const isOver = readSnapshot("100:105:100,103");
  assert.equal([99, 100, 101, 103, 104, 105, 106].map(isOver), [true, false, true, false, true, false, false]);
  const late = readSnapshot(`${2n ** 32n - 2n}:${2n ** 32n + 3n}:${2n ** 32n - 1n}`);
  assert.equal([2 ** 32 - 2, 2 ** 32 - 1, 0, 2, 3, 4].map(late), [true, false, true, true, false, false]);
  assert.is(readSnapshot("7:7:")(6), true);
});

test("what gathers while one batch is on its way is the next, in order; who is not seen keeps nobody else", async () => {
  const out = outlet(["5:9:5", "5:9:5", "9:9:"]);
  const queue = createQueue(out, quiet);
  for (const xid of [5, 6, 7]) queue.put(xid, message(`${xid}`));
  await pause(0);
  queue.put(8, message("8"));
  queue.put(SEEN, message("seen"));
  await pause(60);
  assert.equal(out.handed, [["6", "7"], ["8", "seen"], ["5"]]);
});

test("of what fails, and of what is too much, everybody is told to look into the tables", async () => {
  const out = outlet(["error", "99:99:"]);
  const failures: unknown[] = [];
  const queue = createQueue(out, { failed: (error) => failures.push(error) });
  queue.put(SEEN, message("lost"));
  await pause(0);
  queue.put(SEEN, message("kept"));
  await pause(150);
  const sweep = LOST.messages[0]!.text;
  assert.equal(out.handed, [[sweep, "kept"]]);
  assert.is(failures.length, 1);
  const text = "x".repeat(2 ** 20);
  for (let n = 0; n < 65; n++) queue.put(SEEN, message(text));
  await pause(30);
  assert.equal(out.handed.slice(1), [[sweep]]);
  // a part at a time
  for (let n = 0; n < 3; n++) queue.put(SEEN, message(text));
  await pause(30);
  assert.equal(
    out.handed.slice(2).map((texts) => texts.length),
    [1, 1, 1],
  );
  // nobody is told while there is no way, and then they are
  out.up = false;
  queue.put(SEEN, message("away"));
  await pause(10);
  out.up = true;
  queue.put(SEEN, message("back"));
  await pause(30);
  assert.equal(out.handed.slice(5), [[sweep, "back"]]);
});

test("what comes when a batch has just gone is not left behind", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const handed: number[] = [];
    let late = (): void => {};
    const queue = queueOver(async (loads) => {
      handed.push(loads.length);
      let turn = Promise.resolve();
      for (let n = 0; n < turns; n++) turn = turn.then(() => {});
      void turn.then(() => late());
      return [];
    });
    late = () => {
      late = () => {};
      queue.put(SEEN, message("late"));
    };
    queue.put(SEEN, message("first"));
    await pause(10);
    assert.equal(handed, [1, 1], `after ${turns} turns`);
  }
});

test("where every commit is seen late, each waits for itself and not for those behind it", async () => {
  const LATE_MS = 5;
  const putAt: number[] = [];
  const waits: number[] = [];
  const queue = queueOver(async (loads) => {
    await pause(0.3);
    const now = performance.now();
    const isSeen = ({ xid }: Load): boolean => now - putAt[xid]! >= LATE_MS;
    waits.push(...loads.filter(isSeen).map(({ xid }) => now - putAt[xid]!));
    return loads.filter((load) => !isSeen(load));
  });
  for (let xid = 1; xid <= 500; xid++) {
    putAt[xid] = performance.now();
    queue.put(xid, message("x"));
    await pause(1);
  }
  await eventually(() => assert.is(waits.length, 500));
  const [median] = waits.sort((a, b) => a - b).slice(250);
  assert.ok(median! < 6 * LATE_MS, `${median} ms`);
});

test("one that is stuck keeps nobody else, and is looked at ever less often", async () => {
  const out = outlet(["5:9:5"]);
  const queue = createQueue(out, quiet);
  queue.put(5, message("stuck"));
  await pause(700);
  const looks = out.handed.length;
  assert.ok(looks > 5 && looks < 30, `${looks} looks`);
  const waits: number[] = [];
  for (const xid of [6, 7, 8, 4]) {
    await pause(90);
    const from = performance.now();
    queue.put(xid, message(`next ${xid}`));
    await eventually(() => assert.ok(out.handed.flat().includes(`next ${xid}`)), { everyMs: 1 });
    waits.push(performance.now() - from);
  }
  // not one look of those that were due anyway, whatever else the machine does
  assert.ok(Math.min(...waits) < 20, String(waits));
  await queue.stop();
});

test("one that comes while another is stuck is looked at often itself", async () => {
  const out = outlet(["5:6:5"]);
  const queue = createQueue(out, quiet);
  queue.put(5, message("stuck"));
  await pause(500);
  const looks = out.handed.length;
  queue.put(6, message("seen soon"));
  await pause(95);
  assert.ok(out.handed.length - looks >= 4, `${out.handed.length - looks} looks`);
  await queue.stop();
});

test("of what fails, those who are told to look are told when it is to be seen", async () => {
  const out = outlet(["error", "5:9:5", "5:9:5", "9:9:"]);
  const queue = createQueue(out, quiet);
  for (const xid of [5, 6, 6]) queue.put(xid, message(`${xid}`));
  const sweep = LOST.messages[0]!.text;
  await eventually(() =>
    assert.equal(
      out.handed.filter((texts) => texts.length > 0),
      [[sweep], [sweep]],
    ),
  );
});

test("while nothing gets through, what is to be told afterwards does not grow", async () => {
  const sizes: number[] = [];
  const queue = queueOver(async (loads) => {
    sizes.push(loads.length);
    await pause(1);
    throw new Error("away");
  });
  for (let xid = 1; xid <= 20_000; xid++) queue.put(xid, message("x"));
  await eventually(() => assert.ok(sizes.length > 3));
  assert.is(sizes[0], 20_000);
  assert.ok(sizes.at(-1)! <= 1_000, String(sizes));
  await queue.stop();
});

test("what fails for seconds is told, and when it is over", async () => {
  let isBroken = true;
  const told: unknown[] = [];
  const queue = queueOver(
    async () => {
      if (isBroken) throw new Error("away");
      return [];
    },
    { failed() {}, stuck: (isStuck) => told.push(isStuck) },
  );
  const from = performance.now();
  queue.put(SEEN, message("x"));
  await eventually(() => assert.ok(told.includes(true)));
  assert.ok(performance.now() - from > 2_900);
  isBroken = false;
  await eventually(() => assert.is(told.at(-1), false));
});

test("what is not taken in time is given up, and everybody is told", async () => {
  const handed: string[] = [];
  const queue = queueOver(async (loads) => {
    if (handed.push(...loads.flatMap(({ messages }) => messages.map(({ text }) => text))) === 1) await pause(60_000);
    return [];
  });
  queue.put(SEEN, message("hangs"));
  await pause(100);
  queue.put(SEEN, message("next"));
  await eventually(() => assert.equal(handed, ["hangs", LOST.messages[0]!.text, "next"]));
});

test("a stop hands on what is there, and does not wait for what fails", async () => {
  const out = outlet(["99:99:"]);
  const queue = createQueue(out, quiet);
  queue.put(SEEN, message("last"));
  await queue.stop();
  assert.equal(out.handed, [["last"]]);
  const failing = createQueue(outlet(["error"]), quiet);
  failing.put(SEEN, message("never"));
  await failing.stop();
});

test.run();
