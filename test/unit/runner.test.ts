// The runner must notice everything that keeps a test from passing: a green run that proves nothing is worse than none.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";

const RUN = fileURLToPath(new URL("../run.ts", import.meta.url));
const test = suite("runner");
const folders: string[] = [];

interface Outcome {
  code: number | null;
  output: string;
  last: string;
}

/** Writes the files into a folder of their own and runs the runner on it. */
function run(files: Record<string, string>, ...args: string[]): Promise<Outcome> {
  const root = mkdtempSync(join(tmpdir(), "tidings-runner-"));
  folders.push(root);
  for (const [name, body] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), body);
  }
  writeFileSync(join(root, "package.json"), '{"type":"module"}');
  const child = spawn(process.execPath, [...process.execArgv, RUN, "--root", root, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
  }
  return new Promise((resolve) => {
    child.on("close", (code) => resolve({ code, output, last: output.trimEnd().split("\n").at(-1) ?? "" }));
  });
}

/** A killed process may stay a zombie until whoever inherited it looks. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const one = (body: string, head = ""): Record<string, string> => ({
  "unit/a.test.ts": `${head}\nimport { suite } from "uvu";\nconst test = suite("a");\n${body}\n`,
});

test.after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test("passing tests of several files add up and exit 0", async () => {
  const body = `import { test } from "uvu"; test("one", () => {}); test.skip("not now"); test.run();`;
  const outcome = await run({ "unit/a.test.ts": body, "unit/b.test.ts": `// @alone\n${body}`, "other/c.test.ts": "!" });
  assert.is(outcome.last, "2 passed, 0 failed, 2 skipped");
  assert.is(outcome.code, 0);
});

test("a failing test is counted, shown with its reason, and the others still run", async () => {
  const outcome = await run(
    one(
      `test("good", () => {}); test("bad", () => { throw new Error("because") }); test("fine", () => {}); test.run()`,
    ),
  );
  assert.is(outcome.last, "2 passed, 1 failed");
  assert.is(outcome.code, 1);
  assert.match(outcome.output, "because");
});

test("a thrown value that is no error is a failure like any other", async () => {
  const outcome = await run(one(`test("odd", () => { throw undefined }); test("good", () => {}); test.run()`));
  assert.is(outcome.last, "1 passed, 1 failed");
  assert.is(outcome.code, 1);
});

test("a throwing before hook fails every test of its suite and tells why", async () => {
  const outcome = await run(
    one(`test.before(() => { throw new Error("no ground") }); test("x", () => {}); test("y", () => {}); test.run()`),
  );
  assert.is(outcome.last, "0 passed, 2 failed");
  assert.is(outcome.code, 1);
  assert.match(outcome.output, "no ground");
});

test("a throwing after hook is a failure although all tests passed", async () => {
  const outcome = await run(one(`test.after(() => { throw new Error("left over") }); test("x", () => {}); test.run()`));
  assert.is(outcome.last, "1 passed, 1 failed");
  assert.is(outcome.code, 1);
  assert.match(outcome.output, "left over");
});

test("a hanging test is named, ended at its deadline, and its process group with it", async () => {
  const body = `test("good", () => {});
    test("sleeper", async () => {
      const { spawn } = await import("node:child_process");
      const child = spawn("sleep", ["300"]);
      console.log("pid=" + child.pid);
      await new Promise((resolve) => setTimeout(resolve, 60_000));
    });
    test("never reached", () => {}); test.run()`;
  const outcome = await run(one(body, "// @timeout 2"));
  assert.is(outcome.last, "1 passed, 2 failed");
  assert.is(outcome.code, 1);
  assert.match(outcome.output, `"a: sleeper" did not finish within 2 s`);
  const pid = Number(outcome.output.match(/pid=(\d+)/)?.[1]);
  await eventually(() => !alive(pid));
});

test("a test that blocks its process is ended too", async () => {
  const outcome = await run(one(`test("spinner", () => { for (;;); }); test.run()`, "// @timeout 2"));
  assert.is(outcome.last, "0 passed, 1 failed");
  assert.match(outcome.output, `"a: spinner" did not finish within 2 s`);
});

test("a test that waits for nothing is noticed at once", async () => {
  const outcome = await run(one(`test("void", () => new Promise(() => {})); test.run()`));
  assert.is(outcome.last, "0 passed, 1 failed");
  assert.match(outcome.output, "ended early");
});

test("no tests, no run() and no files are failures", async () => {
  const outcomes = await Promise.all([
    run(one("")),
    run(one(`test("forgotten", () => {});`)),
    run(one(`test("x", () => {}); test.run()`), "no-such-file"),
  ]);
  assert.equal(
    outcomes.map(({ last, code }) => [last, code]),
    [
      ["0 passed, 1 failed", 1],
      ["0 passed, 1 failed", 1],
      ["0 passed, 1 failed", 1],
    ],
  );
});

test("an early exit with code 0 is a failure", async () => {
  const outcome = await run(one(`test("good", () => {}); test("exit", () => process.exit(0)); test.run()`));
  assert.is(outcome.last, "1 passed, 1 failed");
  assert.is(outcome.code, 1);
  assert.match(outcome.output, "ended early (exit code 0)");
});

test("an unhandled rejection and an import error are failures", async () => {
  const [rejection, missing] = await Promise.all([
    run(one(`test("good", () => { Promise.reject(new Error("nobody waits")) }); test.run()`)),
    run({ "unit/a.test.ts": `import "./missing.ts";` }),
  ]);
  assert.is(rejection.last, "1 passed, 1 failed");
  assert.match(rejection.output, "nobody waits");
  assert.is(missing.last, "0 passed, 1 failed");
  assert.match(missing.output, "missing.ts");
});

test.run();
