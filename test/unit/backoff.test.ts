/** The delays before a retry: their bounds, their jitter, their end. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { backoff, jitter } from "../../src/backoff.ts";

const test = suite("backoff");
const most = (): number => 0.999_999_999;
const least = (): number => 0;

test("the longest delay doubles with every failure up to the cap, and stays there", () => {
  const retry = backoff({ random: most });
  assert.equal(
    Array.from({ length: 8 }, () => retry.next()),
    [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000],
  );
  for (let i = 0; i < 2000; i += 1) retry.next();
  assert.is(retry.next(), 20_000);
});

test("the jitter is full: the shortest delay is always nothing", () => {
  const retry = backoff({ random: least });
  assert.equal([retry.next(), retry.next(), retry.next()], [0, 0, 0]);
});

test("a success starts over", () => {
  const retry = backoff({ baseMs: 10, capMs: 1000, random: most });
  retry.next();
  retry.next();
  retry.reset();
  assert.is(retry.next(), 10);
});

test("a base above the cap is the cap", () => {
  const retry = backoff({ baseMs: 50, capMs: 20, random: most });
  assert.is(retry.next(), 20);
  retry.reset();
  assert.is(retry.next(), 20);
});

test("two clients that failed together do not wait the same", () => {
  const delays = new Set(Array.from({ length: 50 }, () => backoff({ baseMs: 1_000_000, capMs: 1_000_000 }).next()));
  assert.ok(delays.size > 40, `${delays.size} different delays of 50`);
});

test("jitter reaches both of its ends and nothing beyond", () => {
  assert.is(jitter(30, 60, least), 30);
  assert.is(jitter(30, 60, most), 60);
  assert.is(jitter(7, 7, most), 7);
  for (let i = 0; i < 1000; i += 1) {
    const delay = jitter(3, 5);
    assert.ok(Number.isInteger(delay) && delay >= 3 && delay <= 5);
  }
});

test.run();
