/**
 * The first minute of somebody who has just started it: nothing set, the embedded database, the commands it prints
 * pasted into a shell; and what stays from one start to the next.
 */
// @timeout 60
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect } from "../../src/db/client.ts";
import { startEmbedded } from "../../src/embedded/start.ts";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, curl, socket } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";

const test = suite("start");
const dir = mkdtempSync(join(tmpdir(), "tidings-start-"));
// as root, Postgres runs under another account, which must reach its folder
chmodSync(dir, 0o711);
let server: Cli;
let url: string;

test.before(async () => {
  server = tidings(["serve"], { DATA_DIR: dir });
  url = await server.url;
});
test.after.each(closeClients);
test.after(async () => {
  server?.kill("SIGTERM");
  await server?.exited;
  await endAll();
  rmSync(dir, { recursive: true, force: true });
});

const tokens = (of: Cli): string[] =>
  [...of.stdout().matchAll(/[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}/g)].map(([jwt]) => jwt);
const bearer = (jwt: string): { authorization: string } => ({ authorization: `Bearer ${jwt}` });

/** A query on the embedded database, as somebody with psql would. */
async function query<T>(run: (sql: ReturnType<typeof connect>) => Promise<T>): Promise<T> {
  const held = await startEmbedded({ dir });
  const sql = connect(held.url, { max: 1, name: "test" });
  try {
    assert.ok(held.attached);
    return await run(sql);
  } finally {
    await close(sql);
    await held.stop();
  }
}

test("without any setting it listens, and its first line on standard output says where", async () => {
  assert.match(server.stdout(), /^listening on http:\/\/127\.0\.0\.1:\d+\n/);
  assert.is((await fetch(`${url}/readyz`)).status, 200);
  assert.not.match(server.stderr(), /"level":(50|60)/);
});

test("the commands it prints work as pasted: ann's stream shows what ben sends", async () => {
  await eventually(() => server.stdout().includes("Ctrl-C"));
  const shown = server.stdout();
  const [watch, send] = [/^ {2}curl -N [^\n]+$/m.exec(shown)![0], /^ {2}curl -s [\s\S]+?(?<!\\)$/m.exec(shown)![0]];
  const [ann] = tokens(server);
  const address = /http:\S+$/.exec(watch)![0];
  const stream = curl("-H", `Authorization: Bearer ${ann}`, address);
  assert.is((await stream.find("ready")).data?.user_id, 1);
  const { stdout } = await promisify(execFile)("sh", ["-c", send]);
  assert.match(stdout, "Hello from a terminal");
  const frame = await stream.find("new_message");
  assert.equal((frame.message as { content: string }).content, "Hello from a terminal");
  assert.match(String((await stream.find("notification")).data?.title), /^New message from /);
});

test("a plain insert from psql reaches an open stream", async () => {
  const stream = await socket(`${url.replace("http", "ws")}/ws/notifications/`, {
    headers: bearer(tokens(server)[1]!),
  });
  assert.is((await stream.find("ready")).data?.user_id, 2);
  await query((sql) => sql`insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')`);
  assert.is(((await stream.find("invite_created")).invite as { game: string }).game, "chess");
});

test("the users ann, ben, cleo and dan exist, ann and ben being friends", async () => {
  const users = await query(
    (sql) => sql<{ id: number; username: string }[]>`select id, username from app."user" order by id`,
  );
  assert.equal(
    users.map(({ id, username }) => [id, username]),
    [
      [1, "ann"],
      [2, "ben"],
      [3, "cleo"],
      [4, "dan"],
    ],
  );
  const friends = await query(
    (sql) => sql`select from app.friendship where status = 'accepted'
    and array[requester_id, addressee_id] <@ array[1, 2]::bigint[]`,
  );
  assert.is(friends.length, 1);
});

test("tidings token signs with the secret this folder keeps", async () => {
  const cli = tidings(["token", "3"], { DATA_DIR: dir });
  assert.equal(await cli.exited, { code: 0, signal: null });
  const stream = await socket(`${url.replace("http", "ws")}/ws/notifications/`, {
    headers: bearer(cli.stdout().trim()),
  });
  assert.is((await stream.find("ready")).data?.user_id, 3);
});

test("a second start on the same folder shares the database: what one is told, the other's streams hear", async () => {
  const second = tidings(["serve"], { DATA_DIR: dir });
  const other = await second.url;
  const [first] = tokens(server);
  const stream = await socket(`${other.replace("http", "ws")}/ws/notifications/`, { headers: bearer(first!) });
  await stream.find("ready");
  await query((sql) => sql`select tidings.send_notification(1::bigint, 'T', 'for both', 'note')`);
  await stream.find((frame) => frame.data?.message === "for both");
  second.kill("SIGTERM");
  assert.equal(await second.exited, { code: 0, signal: null });
  assert.is((await fetch(`${url}/readyz`)).status, 200, "the first goes on");
});

test("after a stop the database is gone too; the next start has the same secret and every entry", async () => {
  const [first] = tokens(server);
  const before = await (await fetch(`${url}/api/inbox`, { headers: bearer(first!) })).json();
  const held = await startEmbedded({ dir });
  await held.stop();
  server.kill("SIGINT");
  assert.equal(await server.exited, { code: 0, signal: null });
  const sql = connect(held.url, { max: 1, name: "test" });
  const gone = await sql`select 1`.catch((error: { code: string }) => error.code);
  await close(sql);
  assert.is(gone, "ECONNREFUSED");
  server = tidings(["serve"], { DATA_DIR: dir });
  url = await server.url;
  const after = await (await fetch(`${url}/api/inbox`, { headers: bearer(first!) })).json();
  // who was online is not any more
  const lasting = ({ friends: _, ...rest }: Record<string, unknown>): Record<string, unknown> => rest;
  assert.equal(lasting(after), lasting(before));
});

test.run();
