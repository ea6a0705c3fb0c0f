/**
 * `npm run bench [-- --quick] [--against <main.js>] [--profile <folder>] [scenario …]`: measures the built server
 * beside a bare floor on one Postgres (embedded, or BENCH_DATABASE_URL) and prints Markdown. A scenario is one file of
 * this folder that exports `run(bench): Promise<string>`; ratios stand first in it, since they outlast the machine.
 * `partition`, `partition_month` and `partition_move` run only when named, with `--rows N` and `--layouts plain,hash,range`.
 * `--against` measures another build beside this one. Exit code 1 where anything was lost.
 */
import { mkdirSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import process from "node:process";
import { type Bench, createBench } from "./bench.ts";

interface Scenario {
  run(bench: Bench): Promise<string>;
}

const SCENARIOS = ["delivery", "writer", "broadcast", "fanout", "resume", "idle"];
/** Run only when named: it takes minutes, and disk by the gigabyte. */
const LONG = ["partition", "partition_month", "partition_move"];

const args = process.argv.slice(2);
const optionOf = (flag: string): string | undefined => {
  const at = args.indexOf(flag);
  return at < 0 ? undefined : args.splice(at, 2)[1];
};
const against = optionOf("--against");
const profiles = optionOf("--profile");
const rows = optionOf("--rows");
const layouts = optionOf("--layouts");
const quick = args.includes("--quick");
const wanted = args.filter((arg) => arg !== "--quick");
const known = [...SCENARIOS, ...LONG];
const unknown = wanted.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`There is no scenario ${unknown.join(", ")}: choose from ${known.join(", ")}.`);
  process.exit(2);
}
if (profiles) mkdirSync(profiles, { recursive: true });

const bench = await createBench({ quick, against, profiles, rows, layouts });
try {
  const machine = `${cpus().length} cores ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`;
  console.log(`## Benchmark ${new Date().toISOString().slice(0, 16)}Z${quick ? " (quick)" : ""}\n`);
  console.log(`${machine}; Node ${process.versions.node}; ${bench.postgres}\n`);
  for (const name of wanted.length > 0 ? wanted : SCENARIOS) {
    const began = performance.now();
    const scenario = (await import(`./${name}.ts`)) as Scenario;
    console.log(`### ${name}\n\n${await scenario.run(bench)}`);
    console.log(`\n_${Math.round((performance.now() - began) / 1_000)} s_\n`);
    await bench.clear();
  }
} finally {
  await bench.stop();
}
