/** Deliveries are counted in bulk, and none is lost to that. */
import postgres from "postgres";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Entry } from "../../src/core/entry.ts";
import { createMetrics } from "../../src/metrics.ts";

const test = suite("metrics");

test("all deliveries are there at a scrape, however many came since the last", async () => {
  // nobody is there: a scrape tells the rest
  const sql = postgres("postgres://nobody@127.0.0.1:1/none", { connect_timeout: 1, max: 1 });
  const metrics = createMetrics(sql, { listenSince: () => null, feedParts: () => ({}) });
  /** A series that has not begun is not there. */
  const value = (text: string, sample: string): number => {
    const line = text.split("\n").find((one) => one.startsWith(`${sample} `));
    return Number(line?.slice(sample.length) ?? 0);
  };
  let slow = 0;
  const told = { websocket: 0, sse: 0 };
  for (const more of [0, 1_000, 2_500]) {
    for (const transport of ["websocket", "sse"] as const) {
      for (let n = 0; n < more; n++) {
        metrics.sent(
          transport,
          new Entry(1, null, "", "{}", false, true, Date.now() - (n === 0 ? 20_000 : 3_000)),
          "fast",
        );
      }
      told[transport] += more;
      if (more > 0) slow++;
    }
    metrics.sent("sse", new Entry(1, null, "", "{}", false, true, Number.NaN), "read");
    const text = await metrics.render();
    for (const transport of ["websocket", "sse"] as const) {
      const sends = `tidings_sends_total{transport="${transport}",result="fast"}`;
      assert.is(value(text, sends), told[transport]);
    }
    const seconds = (of: string): string => `tidings_delivery_seconds${of}`;
    const all = told.websocket + told.sse;
    assert.is(value(text, seconds('_count{path="fast"}')), all);
    assert.is(value(text, seconds('_bucket{le="2.5",path="fast"}')), 0);
    assert.is(value(text, seconds('_bucket{le="10",path="fast"}')), all - slow);
    assert.is(value(text, seconds('_count{path="read"}')), 0);
  }
  await sql.end({ timeout: 0 });
});

test.run();
