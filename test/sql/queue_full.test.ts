// @timeout 60
/**
 * A stuck listener fills the NOTIFY queue. Writers must not fail: they fall silent before it is full. On a server of
 * its own, whose queue is half a megabyte (a setting since Postgres 17) and not eight gigabytes.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";
import { type Embedded, startEmbedded } from "../../src/embedded/start.ts";
import { codeOf } from "./scene.ts";

const test = suite("a full queue");
const folder = mkdtempSync(join(tmpdir(), "tidings-queue-"));
let server: Embedded;
let sql: Sql;

test.before(async () => {
  chmodSync(folder, 0o711);
  server = await startEmbedded({ dir: join(folder, "postgres"), fast: true, flags: ["max_notify_queue_pages=64"] });
  sql = connect(server.url, { max: 4 });
  await migrate(sql, { domain: false });
});
test.after(async () => {
  await close(sql);
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

const usage = async (): Promise<number> => (await sql`select pg_notification_queue_usage() as usage`)[0]!.usage;

test("publishing goes on while a stuck listener keeps the queue full, and is heard again when it is gone", async () => {
  const stuck = connect(server.url, { max: 1 });
  try {
    await stuck`listen tidings`;
    // a listener inside a transaction takes nothing out of the queue
    await stuck.unsafe("begin; select 1").simple();
    for (let i = 0; i < 200; i++) {
      await sql`select tidings.send_notification('1', 't', ${"x".repeat(5_000)}, 'note')`;
      await sql`select tidings.notify_user('1', '{"type": "x"}')`;
    }
    const full = await usage();
    assert.ok(full > 0.9 && full < 1, `usage ${full}`);
    await sql`select tidings.send_notification('1', 't', 'm', 'note') from generate_series(1, 20)`;
    const office = connect(server.url, { max: 1 });
    await office`select pg_advisory_lock(1953063017, 0)`;
    await sql`insert into tidings.unannounced (envelope) values ('{}')`;
    assert.is((await office`select tidings.relay() as taken`)[0]!.taken, 1);
    await close(office);
    // the reader of the WAL is told, and tells everybody to look into the tables when there is room again
    assert.is(await codeOf(sql`select tidings.announce_decoded('{}', '[]')`), "53000");
    assert.is((await sql`select last_id from tidings.inbox where user_id = '1'`)[0]!.last_id, 220);
    // the guard is what saved the writers: without it a commit fails
    assert.is(
      await codeOf(sql`select pg_notify('tidings', repeat('x', 7000) || n) from generate_series(1, 20) n`),
      "54000",
    );
  } finally {
    await stuck.unsafe("rollback").simple();
    await close(stuck);
  }
  const heard: string[] = [];
  const ear = connect(server.url, { max: 1 });
  await ear.listen("tidings", (text) => heard.push(text));
  await sql`select tidings.notify_user('1', '{"type": "again"}')`;
  for (const deadline = Date.now() + 5_000; heard.length === 0 && Date.now() < deadline; )
    await new Promise((go) => setTimeout(go, 20));
  await close(ear);
  assert.match(heard.join(), "again");
});

test.run();
