/**
 * The benchmark itself, at its smallest: that it measures something and says so, that its exit code can be relied on,
 * and that nothing it started outlives it. What it finds is not judged here.
 */
// @timeout 120
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect } from "../../src/db/client.ts";
import { pgbenchMissing } from "../bench/pgbench.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("bench");
const MAIN = fileURLToPath(new URL("../bench/main.ts", import.meta.url));
let folder: string;
let running: ChildProcess | undefined;

test.before(() => {
  folder = mkdtempSync(join(tmpdir(), "tidings-bench-test-"));
});
test.after.each(async () => {
  if (running && running.exitCode === null && running.signalCode === null) running.kill("SIGKILL");
  running = undefined;
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly child: ChildProcess;
  readonly code: Promise<number | null>;
  stdout(): string;
  stderr(): string;
}

/** On the tests' own Postgres; what it starts can be told by the folder for its temporary files. */
function bench(...args: string[]): Run {
  const env = { ...process.env, TMPDIR: folder, BENCH_DATABASE_URL: process.env.TEST_DATABASE_URL };
  const child = spawn(process.execPath, ["--import", "tsx", MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  running = child;
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk;
  });
  const code = once(child, "close").then(([ended]) => ended as number | null);
  return { child, code, stdout: () => stdout, stderr: () => stderr };
}

/** Processes that have inherited our folder. */
function left(): string[] {
  const marked = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`TMPDIR=${folder}\0`);
    } catch {
      return false;
    }
  };
  return process.platform === "linux" ? readdirSync("/proc").filter((name) => /^\d/.test(name) && marked(name)) : [];
}

/** tsx keeps what it has compiled beside. */
const files = (): string[] => readdirSync(folder).filter((name) => !name.startsWith("tsx-"));

test("the smallest run measures, loses nothing and leaves nothing behind", async () => {
  const run = bench("--tiny", "--rivals", "socketio", "delivery");
  assert.is(await run.code, 0, run.stderr());
  const text = run.stdout();
  const [, rows] = /^\| rows \| (.+) \|$/m.exec(text) ?? [];
  assert.ok(rows, text);
  for (const count of rows.split(" | ")) assert.ok(Number(count.replaceAll(",", "")) > 20, rows);
  assert.match(text, /^\| lost \/ doubled \/ astray \| 0 \/ 0 \/ 0 \| 0 \/ 0 \/ 0 \| 0 \/ 0 \/ 0 \|$/m);
  assert.match(text, /^\| rows per second, 8 writers, to floor \| at least 0.85 \| [\d.]+ \| (held|missed) \|$/m);
  assert.equal({ left: left(), files: files() }, { left: [], files: [] });
});

test("feeds are compared with NOTIFY by hand and with silence, and pgbench's rows reach whom they are for", async () => {
  const run = bench("--tiny", "--rivals", "none", "feeds");
  assert.is(await run.code, 0, run.stderr());
  const text = run.stdout();
  const sql = connect(process.env.TEST_DATABASE_URL!, { max: 1, name: "bench test" });
  const unfit = await pgbenchMissing(sql).finally(() => close(sql));
  assert.match(text, unfit ? `one Node process, since ${unfit}` : "the writers are pgbench");
  const [head, ...cells] = ["absolute", "commits per second, 32 writers", "lost / doubled / astray"].map((name) =>
    text
      .split("\n")
      .findLast((line) => line.startsWith(`| ${name} |`))!
      .split(" | ")
      .slice(1),
  );
  assert.match(head!.join(" "), /^plain notify wal .*silent \|$/);
  assert.is(cells[0]!.filter((rate) => Number.parseInt(rate, 10) > 0).length, head!.length, text);
  assert.is(cells[1]!.filter((one) => /^0 \/ 0 \/ 0 of [1-9]/.test(one)).length, head!.length - 1, text);
  assert.equal({ left: left(), files: files() }, { left: [], files: [] });
});

test("every other scenario runs, those on request too", async () => {
  const help = bench("--help");
  await help.code;
  const names = [...help.stdout().matchAll(/^ {2}(\w+) +/gm)].map(([, name]) => name!);
  const others = names.filter((name) => !["delivery", "feeds"].includes(name));
  const run = bench("--tiny", "--rivals", "none", ...others);
  assert.is(await run.code, 0, run.stderr());
  for (const name of others) assert.match(run.stdout(), new RegExp(`^### ${name}\n\n(?!Failed)`, "m"));
  assert.equal({ left: left(), files: files() }, { left: [], files: [] });
});

test("a scenario that fails is told and makes the exit code 1, and the next one is run", async () => {
  const broken = join(folder, "tsx-broken.mjs");
  writeFileSync(broken, "process.exit(3);\n");
  const run = bench("--tiny", "--rivals", "none", "--against", broken, "burst", "idle");
  assert.is(await run.code, 1, run.stderr());
  assert.match(run.stdout(), /^### burst\n\nFailed: the (process|server) ended /m);
  assert.match(run.stdout(), /^\| KB a WebSocket \|/m);
  assert.equal(left(), []);
});

test("cut short it ends with 130 and takes with it what it started", async () => {
  const run = bench("--tiny", "--rivals", "none", "delivery");
  await eventually(() => run.stderr().includes("round 1"));
  assert.ok(process.platform !== "linux" || left().length > 3, left().join(" "));
  run.child.kill("SIGINT");
  assert.is(await run.code, 130, run.stderr());
  assert.equal({ left: left(), files: files() }, { left: [], files: [] });
});

test("a mistake in the call is exit code 2 and one line; help tells the scenarios", async () => {
  for (const args of [["nonsense"], ["--rivals", "nobody"], ["--nonsense"], ["--against", "/nowhere.js"]]) {
    const run = bench(...args);
    assert.is(await run.code, 2, args.join(" "));
    assert.match(run.stderr(), /See npm run bench -- --help\.\n$/);
  }
  const help = bench("--help");
  assert.is(await help.code, 0);
  assert.match(help.stdout(), /^ {2}delivery +/m);
});

test.run();
