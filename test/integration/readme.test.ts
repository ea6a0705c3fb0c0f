/**
 * The README is run: its SQL in order on a fresh database, its curl commands against a running instance, its npm
 * commands exist, its example app compiles against what it imports, and its configuration table is the code's.
 * README_UPDATE=1 writes the table anew.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import WebSocket from "ws";
import { VARIABLES } from "../../src/config.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";

const test = suite("README");
const root = new URL("../../", import.meta.url);
const readme = () => readFileSync(new URL("README.md", root), "utf8");
const blocks = (language: string) =>
  [...readme().matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map((match) => match[1]!);
const packageJson = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));

let db: TestDatabase;
let server: Instance;

test.before(async () => {
  db = await database({ domain: true });
  server = await instance(db.url);
});
test.after(async () => {
  await server.stop();
  await db.sql`drop owned by shop`.catch(() => {});
  await db.drop();
});

test("its SQL runs, and user 42's stream hears of the order, the notification and the transient event", async () => {
  const socket = new WebSocket(`${server.ws}/ws/notifications/?token=${await token(42)}`);
  const frames: { type: string; data?: Record<string, unknown> }[] = [];
  socket.on("message", (data) => frames.push(JSON.parse(String(data))));
  await eventually(() => assert.ok(frames[0]));
  await db.sql.unsafe("drop role if exists shop").catch(() => {});
  const [shop, ...rest] = blocks("sql").toReversed();
  for (const block of rest.toReversed()) await db.sql.unsafe(block);
  await eventually(() => assert.is(frames.length, 5));
  assert.equal(
    frames.map((frame) => frame.data?.message ?? frame.type),
    ["ready", "Order 1 is on its way", "Good to have you", "cart_changed", "A plain insert does it too"],
  );
  socket.close();
  await db.sql.unsafe(shop!);
  await db.sql.begin(async (tx) => {
    await tx`set local role shop`;
    await tx`select tidings.send_notification(42::bigint, 'a', 'by the shop', 'c')`;
  });
});

test("its shell commands work", async () => {
  const env = { ...process.env, URL: server.url, TOKEN: await token(42) };
  for (const line of blocks("sh").flatMap((block) => block.trim().split("\n"))) {
    const npm = /^npm (?:run )?(\S+)$/.exec(line);
    if (npm) assert.ok(packageJson.scripts[npm[1]!], line);
    else assert.ok((await promisify(execFile)("bash", ["-ec", line], { env })).stdout.length > 0, line);
  }
});

test("every test it names exists", () => {
  for (const [, path] of readme().matchAll(/`(test\/[^`]+)`/g)) assert.ok(existsSync(new URL(path!, root)), path);
});

test("what it imports from the package is exported", async () => {
  const exported = await import("../../src/index.ts");
  for (const [, names] of readme().matchAll(/import \{ ([^}]+) \} from "tidings"/g)) {
    for (const name of names!.split(", ")) assert.ok(name in exported, name);
  }
});

test("its configuration table is the code's", () => {
  const rows = Object.entries(VARIABLES).map(
    ([name, { fallback, help }]) => `| \`${name}\` | ${fallback === undefined ? "" : `\`${fallback}\``} | ${help} |`,
  );
  const table = `<!-- configuration -->\n| variable | default | |\n| --- | --- | --- |\n${rows.join("\n")}\n`;
  if (process.env.README_UPDATE) {
    const written = readme().replace(/<!-- configuration -->\n(\|.*\n)*/, table);
    writeFileSync(new URL("README.md", root), written);
  }
  assert.ok(readme().includes(table), "run README_UPDATE=1 npm test readme");
});

test.run();
