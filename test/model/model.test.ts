/**
 * Random histories, a few of them: publishing, reading, dropping and resuming while instances, LISTEN connections and
 * Postgres itself are killed and announcements get lost, over every feed. `npm run test:chaos` runs them for minutes.
 */
// @alone
// @timeout 120
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { ENGINE_PACKAGES, engineProgram } from "../helpers/engine.ts";
import { runHistory } from "./history.ts";
import { plan } from "./plan.ts";
import { FEEDS, type Feed, type World, world } from "./world.ts";

const ENOUGH_MS = 10_000;
const INSTANCES = 2;
const STEPS = 120;

function histories(feed: Feed): void {
  const test = suite(`model over ${feed}`);
  let stage: World;
  test.before(async () => {
    stage = await world(INSTANCES, feed);
  });
  test.after(() => stage?.stop());

  test("after any history each client has 1..N of what was committed, once and in order, and the counts agree", async () => {
    const deadline = Date.now() + ENOUGH_MS;
    let seed = Math.floor(Math.random() * 1_000_000_000);
    do {
      const { wrong, entries, frames, connections } = await runHistory(
        stage,
        plan(seed, { instances: INSTANCES, steps: STEPS }),
      );
      console.log(`seed ${seed}: ${entries} entries, received ${frames} times over ${connections} connections`);
      const again = `npm run test:chaos -- --seed ${seed} --instances ${INSTANCES} --steps ${STEPS} --feed ${feed}`;
      assert.equal(wrong.slice(0, 20), [], `run it again: ${again}`);
      seed++;
    } while (Date.now() < deadline);
  });
  test.run();
}

for (const feed of FEEDS) {
  const engine = feed === "redis" || feed === "nats" ? feed : undefined;
  if (!engine || engineProgram(engine)) histories(feed);
  else {
    const test = suite(`model over ${feed}`);
    test.skip(`${ENGINE_PACKAGES[engine]} is not installed`, () => {});
    test.run();
  }
}

const test = suite("model");
test("the plan of a seed is always the same", () => {
  assert.equal(plan(7), plan(7));
  assert.not.equal(plan(7).steps, plan(8).steps);
});

test.run();
