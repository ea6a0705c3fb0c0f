// When a transaction out of the WAL may be told of: once no snapshot lists it as running any more.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { createHold, readSnapshot } from "../../src/db/visible.ts";

const test = suite("visible");

test("a transaction is over below xmax unless it is listed, also where its short id has come round", () => {
  const isOver = readSnapshot("100:105:100,103");
  assert.equal([99, 100, 101, 103, 104, 105, 106].map(isOver), [true, false, true, false, true, false, false]);
  const late = readSnapshot(`${2n ** 32n - 2n}:${2n ** 32n + 3n}:${2n ** 32n - 1n}`);
  assert.equal([2 ** 32 - 2, 2 ** 32 - 1, 0, 2, 3, 4].map(late), [true, false, true, true, false, false]);
  assert.is(readSnapshot("7:7:")(6), true);
});

test("one snapshot serves all that wait; who is not seen waits on without keeping the others, and a failed look is made again", async () => {
  const snapshots = ["5:9:5", "error", "5:9:5", "9:9:"];
  let asked = 0;
  const told: number[] = [];
  const hold = createHold(
    async () => {
      const next = snapshots[Math.min(asked++, snapshots.length - 1)]!;
      if (next === "error") throw new Error("away");
      return next;
    },
    () => {},
  );
  for (const xid of [5, 6, 7]) hold.until(xid, () => told.push(xid));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(told, [6, 7, 5]);
  assert.is(asked, 4);
  hold.end();
  hold.until(8, () => told.push(8));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(told, [6, 7, 5]);
});

test.run();
