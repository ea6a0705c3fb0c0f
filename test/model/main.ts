/**
 * `npm run test:chaos [-- --minutes N] [--seed N] [--instances N] [--steps N] [--feed F]`: random histories one after another,
 * for ten minutes unless told otherwise; with `--seed` that one history alone. `--feed` is notify (default), wal, redis
 * or nats. Stops at the first that breaks a
 * promise, says how, and how to run it again. Exit code 0 where none did.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { runHistory } from "./history.ts";
import { type PlanOptions, plan } from "./plan.ts";
import { FEEDS, world } from "./world.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    instances: { type: "string", default: "3" },
    steps: { type: "string", default: "250" },
    feed: { type: "string", default: "notify" },
  },
});
const options: PlanOptions = { instances: Number(values.instances), steps: Number(values.steps) };
const deadline = Date.now() + Number(values.minutes) * 60_000;
const first = values.seed === undefined ? Math.floor(Math.random() * 1_000_000_000) : Number(values.seed);

const feed = FEEDS.find((one) => one === values.feed);
if (!feed) {
  console.error(`There is no feed ${values.feed}: choose from ${FEEDS.join(", ")}.`);
  process.exit(2);
}
const stage = await world(options.instances!, feed);
let clean = 0;
let failed = false;
try {
  for (let seed = first; !failed && (clean === 0 || (values.seed === undefined && Date.now() < deadline)); seed++) {
    const { wrong, entries, frames, connections } = await runHistory(stage, plan(seed, options));
    console.log(`seed ${seed}: ${entries} entries, received ${frames} times over ${connections} connections`);
    failed = wrong.length > 0;
    if (failed) console.log(wrong.slice(0, 20).join("\n"));
    else clean++;
  }
} finally {
  await stage.stop();
}
const again = `npm run test:chaos -- --seed ${first + clean} --instances ${options.instances} --steps ${options.steps} --feed ${feed}`;
console.log(failed ? `FAILED after ${clean} clean histories; again: ${again}` : `${clean} histories, all clean`);
process.exit(failed ? 1 : 0);
