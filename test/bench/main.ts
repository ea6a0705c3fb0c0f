/**
 * `npm run bench`: measures the built server beside a bare floor and beside others that do the same, on one Postgres
 * (embedded, or BENCH_DATABASE_URL), and prints Markdown; progress goes to standard error. A scenario is one file of this
 * folder that exports `run(bench): Promise<string>`; ratios stand first in it, since they outlast the machine.
 * Exit code 0, 1 where Tidings or the floor lost anything or a scenario failed, 2 for a mistake in the call, 130 when cut short.
 */
import { existsSync, mkdirSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Bench, createBench, RIVALS, type Rival } from "./bench.ts";

interface Scenario {
  run(bench: Bench): Promise<string>;
}

const SCENARIOS = {
  delivery: "latency at a fixed rate, then the ceiling: rows per second, what was lost, CPU per entry",
  burst: "15,000 rows in one statement: what each lost",
  writer: "what publishing costs the writer's insert",
  broadcast: "20,000 recipients at once, 1,000 of them connected",
  fanout: "one transient message to a room of 5,000 sockets, against a bare loop",
  connect: "handshakes per second",
  resume: "5,000 clients come back at once with 20 entries missed each",
  idle: "memory of a stream that only waits, at 5,000",
};
/** Not part of a run unless they are named. */
const ON_REQUEST = {
  growth: "the main figures at ten times the users and ten times the entries; takes minutes to fill its table",
  partition: "the notification table plain and partitioned (--rows N, --layouts plain,hash,range)",
  partition_month: "a month of retention, plain and partitioned",
  partition_move: "the move to partitions itself, under traffic",
  feeds: "what carries entries between instances",
};
/** Seconds that a scenario may take. */
const LIMIT = 240;
const LIMIT_ON_REQUEST = 3_600;

const here = (name: string): URL => new URL(`./${name}.ts`, import.meta.url);
const known: Record<string, string> = {
  ...SCENARIOS,
  ...Object.fromEntries(Object.entries(ON_REQUEST).filter(([name]) => existsSync(here(name)))),
};

const HELP = `usage: npm run bench -- [--quick | --tiny] [--rivals a,b] [--against FILE] [--profile FOLDER] [scenario …]

  --quick           small sizes and few rounds: all of it in about four minutes
  --feeds           the scenario feeds
  --tiny            only to see that it works: the numbers mean nothing
  --rivals NAMES    of ${Object.keys(RIVALS).join(", ")}; "none" for the floor alone (default: all that are installed)
  --against FILE    main file of another build of Tidings, measured beside this one
  --profile FOLDER  profiles each scenario, writes .cpuprofile files there and prints where the time goes;
                    the figures of such a run are not to be compared with others

scenarios (without names all but the last ${Object.keys(known).length - Object.keys(SCENARIOS).length}, which take longer):
${Object.entries(known)
  .map(([name, text]) => `  ${name.padEnd(16)} ${text}`)
  .join("\n")}
`;

function refuse(text: string): never {
  console.error(`${text} See npm run bench -- --help.`);
  process.exit(2);
}

function parse() {
  try {
    const options = {
      quick: { type: "boolean", default: false },
      tiny: { type: "boolean", default: false },
      feeds: { type: "boolean", default: false },
      rivals: { type: "string" },
      against: { type: "string" },
      rows: { type: "string" },
      layouts: { type: "string" },
      profile: { type: "string" },
      help: { type: "boolean", default: false, short: "h" },
    } as const;
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return refuse((error as Error).message);
  }
}

/** Those asked for must be there; of all, those that are. */
function choose(list: string | undefined): Rival[] {
  const all = Object.keys(RIVALS) as Rival[];
  if (list === "none") return [];
  const wanted = (list?.split(",") ?? all) as Rival[];
  for (const name of wanted) if (!all.includes(name)) refuse(`There is no rival ${name}.`);
  return wanted.filter((name) => {
    const missing = RIVALS[name].missing();
    if (missing && list) refuse(`${name} is not installed: ${missing}`);
    if (missing) console.log(`${name} is not measured, not installed: \`${missing}\`\n`);
    return !missing;
  });
}

const { values, positionals } = parse();
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
for (const name of positionals) if (!(name in known)) refuse(`There is no scenario ${name}.`);
const wanted = values.feeds ? [...positionals, "feeds"] : positionals;
const names = wanted.length > 0 ? wanted : Object.keys(SCENARIOS);
if (values.against && !existsSync(values.against)) refuse(`There is no file ${values.against}.`);
const { tiny, against, profile, rows, layouts } = values;
const quick = values.quick || tiny;
console.log(`## Benchmark ${new Date().toISOString().slice(0, 16)}Z${tiny ? " (tiny)" : quick ? " (quick)" : ""}\n`);
const rivals = choose(values.rivals);
if (profile) mkdirSync(profile, { recursive: true });

/** Rejects when the run is to end. */
const cut = new Promise<never>((_, reject) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => reject(Object.assign(new Error(`cut short by ${signal}`), { cut: true })));
  }
});
cut.catch(() => {});
// Whoever reads along may leave, and still nothing is left running.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
// A scenario that was cut short leaves calls behind, to processes that are gone.
process.on("unhandledRejection", (error) => console.error(`bench: left behind: ${error}`));

async function bounded(name: string, bench: Bench): Promise<string> {
  const { run } = (await import(here(name).href)) as Scenario;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const limit = name in SCENARIOS ? LIMIT : LIMIT_ON_REQUEST;
    timer = setTimeout(() => reject(new Error(`not done after ${limit} s`)), limit * 1_000);
  });
  try {
    return await Promise.race([run(bench), late, cut]);
  } finally {
    clearTimeout(timer);
  }
}

async function play(bench: Bench, name: string, step: string): Promise<void> {
  const began = performance.now();
  bench.say(`${name} (${step})`);
  try {
    console.log(`### ${name}\n\n${await bounded(name, bench)}`);
  } catch (error) {
    if (error instanceof Error && "cut" in error) throw error;
    process.exitCode = 1;
    console.log(`### ${name}\n\nFailed: ${error instanceof Error ? error.message : error}`);
    bench.say(`${name} failed: ${error instanceof Error ? error.stack : error}`);
  }
  const hot = bench.profileReport();
  if (hot) console.log(`\n${hot}`);
  console.log(`\n_${Math.round((performance.now() - began) / 1_000)} s_\n`);
  await bench.clear();
}

const bench = await createBench({ quick, tiny, against, profiles: profile, rivals, rows, layouts });
try {
  const machine = `${cpus().length} cores ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GB, ${process.platform}`;
  const busy = loadavg()[0]!;
  if (busy > 1)
    bench.say(`the machine is not quiet (load ${busy.toFixed(1)}): compare nothing but ratios, and those with care`);
  console.log(`${machine}, load ${busy.toFixed(1)} before; Node ${process.versions.node}; ${bench.postgres}\n`);
  for (const [at, name] of names.entries()) await play(bench, name, `${at + 1} of ${names.length}`);
  if (bench.figures()) console.log(`### All of it\n\n${bench.figures()}\n`);
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = error instanceof Error && "cut" in error ? 130 : 1;
} finally {
  await bench.stop();
}
process.exit();
