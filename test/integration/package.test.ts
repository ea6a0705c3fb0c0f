// @alone
// @timeout 180
/**
 * The package as somebody gets it: packed, installed into an empty project, its types compiled under both module
 * resolutions, the README's program run. Skipped, with the reason, where npm cannot reach its registry.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";

const test = suite("the package");
const root = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);
let folder: string;
let db: TestDatabase;

const PROGRAM = `
import { createTidings, TidingsError, type Notification } from "tidings";
import { connect } from "tidings/client";
import { TidingsProvider, useNotifications } from "tidings/react";

const tidings = createTidings({ databaseUrl: process.env.DATABASE_URL!, verify: async () => ({ userId: 7 }) });
await tidings.start();
await tidings.sendNotification(7, { message: "packed", type: "note" });
const response = await tidings.app.request("/api/inbox", { headers: { authorization: "Bearer x" } });
const { notifications } = (await response.json()) as { notifications: Notification[] };
console.log(notifications[0]!.message, typeof connect, typeof TidingsProvider, typeof useNotifications, typeof TidingsError);
await tidings.stop();
`;

/** The README's example as it stands, with the session store it supposes. */
function readmeApp(): string {
  const [, app] = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(join(root, "README.md"), "utf8"))!;
  return `declare const sessions: { find(token: string): Promise<{ userId: number } | null> };\n${app}`;
}

test.before(async () => {
  db = await database({ migrate: false });
  folder = mkdtempSync(join(tmpdir(), "tidings-package-"));
  const { stdout } = await run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], {
    cwd: root,
  });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  const tarball = join(folder, stdout.trim().split("\n").at(-1)!);
  // a Hono of theirs that is not ours: two copies would not fit together
  const wanted = [
    tarball,
    "hono@4.12.0",
    "@hono/node-server@1",
    "react@19",
    "@types/react@19",
    "@types/node@20",
    "typescript@7.0.2",
  ];
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...wanted], { cwd: folder });
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "src/main.ts"), PROGRAM);
  writeFileSync(join(folder, "src/readme.ts"), readmeApp());
});
test.after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await db?.drop();
});

for (const resolution of ["nodenext", "bundler"]) {
  test(`its types compile under ${resolution}`, async () => {
    const module = resolution === "nodenext" ? "nodenext" : "esnext";
    const options = ["--strict", "--target", "es2023", "--skipLibCheck", "false", "--outDir", "out", "--types", "node"];
    const args = [
      "tsc",
      "src/main.ts",
      "src/readme.ts",
      "--module",
      module,
      "--moduleResolution",
      resolution,
      ...options,
      "--jsx",
      "react-jsx",
    ];
    await run("npx", args, { cwd: folder }).catch((error: { stdout: string }) => assert.unreachable(error.stdout));
  });
}

test("the program runs on what was installed, and importing it does nothing by itself", async () => {
  const env = { ...process.env, DATABASE_URL: db.url };
  const { stdout, stderr } = await run("node", ["out/main.js"], { cwd: folder, env });
  assert.is(stdout.trim(), "packed function function function function", stderr);
  const quiet = await run("node", ["--input-type=module", "-e", 'await import("tidings")'], { cwd: folder });
  assert.is(quiet.stdout + quiet.stderr, "");
});

test("its command line runs", async () => {
  const { stdout } = await run("npx", ["tidings", "--help"], { cwd: folder });
  assert.match(stdout, /serve/);
});

test("it carries the SQL and the licence, and no test", () => {
  const installed = join(folder, "node_modules/tidings");
  assert.match(readFileSync(join(installed, "LICENSE"), "utf8"), /MIT/);
  assert.ok(readFileSync(join(installed, "sql/tidings/functions/number.sql"), "utf8").length > 0);
  assert.throws(() => readFileSync(join(installed, "test/run.ts")));
});

test.run();
