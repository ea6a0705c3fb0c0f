/** The rate limit and the count of bad frames, on a clock of the test's own. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FrameLimits, type Verdict } from "../../src/transport/limits.ts";

const test = suite("limits");

function take(limits: FrameLimits, now: number, times: number): Verdict[] {
  return Array.from({ length: times }, () => limits.take(now));
}

test("20 frames at once pass, the next is answered by an error, those after it are dropped in silence", () => {
  const limits = new FrameLimits(0);
  assert.equal(take(limits, 0, 20), Array(20).fill("pass"));
  assert.equal(take(limits, 0, 3), ["warn", "drop", "drop"]);
});

test("the twentieth frame dropped in a row closes, and not the nineteenth", () => {
  const limits = new FrameLimits(0);
  take(limits, 0, 20);
  assert.equal(take(limits, 0, 20), ["warn", ...Array(18).fill("drop"), "close"]);
});

test("a frame that passes ends the row of dropped ones", () => {
  const limits = new FrameLimits(0);
  take(limits, 0, 20 + 19);
  assert.is(limits.take(200), "pass");
  assert.equal(take(limits, 200, 19), Array(19).fill("drop"));
  assert.is(limits.take(200), "close");
});

test("the bucket refills at 5 a second and never above 20", () => {
  const limits = new FrameLimits(0);
  take(limits, 0, 20);
  assert.equal(take(limits, 1000, 6), [...Array(5).fill("pass"), "warn"]);
  const rested = take(limits, 3_600_000, 21);
  assert.equal(rested, [...Array(20).fill("pass"), "warn"]);
});

test("five frames a second pass for ever", () => {
  const limits = new FrameLimits(0);
  take(limits, 0, 20);
  for (let now = 200; now < 60_000; now += 200) assert.is(limits.take(now), "pass");
});

test("a client slightly too fast is told once, not with every second frame", () => {
  const limits = new FrameLimits(0);
  take(limits, 0, 20);
  let warnings = 0;
  for (let now = 100; now < 20_000; now += 100) if (limits.take(now) === "warn") warnings += 1;
  assert.is(warnings, 1);
  assert.is(limits.take(22_500), "pass", "half full again: the overrun is over");
  take(limits, 22_500, 11);
  assert.ok(take(limits, 22_500, 30).includes("drop"));
});

test("frames that come while too many wait count as over the limit", () => {
  const limits = new FrameLimits(0);
  assert.is(limits.take(0, true), "warn");
  assert.is(limits.take(0, true), "drop");
  assert.is(limits.take(0), "pass");
});

test("a clock that goes back refills nothing and takes nothing away", () => {
  const limits = new FrameLimits(10_000);
  take(limits, 10_000, 19);
  assert.is(limits.take(0), "pass");
  assert.is(limits.take(0), "warn");
});

test("the fifth bad frame within a minute closes, and not the fourth", () => {
  const limits = new FrameLimits(0);
  assert.equal(
    [0, 1, 2, 3, 59_999].map((now) => limits.bad(now)),
    [false, false, false, false, true],
  );
});

test("bad frames more than a minute old are forgotten", () => {
  const limits = new FrameLimits(0);
  assert.equal(
    [0, 1, 2, 3, 60_000].map((now) => limits.bad(now)),
    Array(5).fill(false),
  );
  assert.is(limits.bad(60_000), true, "1, 2, 3 and two at 60,000");
});

test.run();
