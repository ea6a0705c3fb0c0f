/** When a line is too long: by what those in it wait, not by how many they are. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { createLine } from "../../src/http/load.ts";

const test = suite("load");

function clocked(served = 2, most = 100) {
  const clock = { ms: 0 };
  return { clock, line: createLine({ served, waitMs: 1_000, most, now: () => clock.ms }) };
}

test("as many as are served at once may take as long as they like", () => {
  const { clock, line } = clocked();
  line.enter();
  line.enter();
  clock.ms = 60_000;
  assert.is(line.overloaded, false);
});

test("one more that waits too long makes it overloaded, until anybody before it leaves", () => {
  const { clock, line } = clocked();
  const leave = line.enter();
  line.enter();
  line.enter();
  clock.ms = 1_000;
  assert.is(line.overloaded, false);
  clock.ms = 1_001;
  assert.is(line.overloaded, true);
  leave();
  assert.is(line.overloaded, false);
});

test("a burst is let in beside one that is stuck, for it moves", () => {
  const { clock, line } = clocked();
  line.enter();
  for (; clock.ms < 10_000; clock.ms += 100) {
    const leaves = Array.from({ length: 50 }, () => line.enter());
    assert.is(line.overloaded, false);
    for (const leave of leaves) leave();
  }
});

test("there is a most, however fast it goes; leaving twice counts once", () => {
  const { line } = clocked(2, 3);
  const leaves = [line.enter(), line.enter(), line.enter()];
  assert.is(line.overloaded, true);
  leaves[1]!();
  leaves[1]!();
  assert.is(line.overloaded, false);
  line.enter();
  assert.is(line.overloaded, true);
});

test.run();
