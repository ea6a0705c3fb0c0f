/**
 * Without traffic the database is left alone, for a minute: heartbeats, sweeps, the scheduler and whatever else turns round write
 * nothing and notify nobody. Seen by Postgres' own log position and transaction numbers, on a server of this file's own.
 */
// @alone
// @timeout 150
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { type Cluster, cluster } from "../model/cluster.ts";

const test = suite("idle");
/** Postgres writes by itself as well: its vacuum, its checkpoints, and what it notes down for standbys. */
const QUIET = ["autovacuum=off", "checkpoint_timeout=1d", "wal_level=minimal", "max_wal_senders=0"];
/** Presence is written 5 s after a stream closes, delivery within 2 s. */
const SETTLE_MS = 8_000;
const WATCH_MS = 60_000;
/** Everything that comes round comes round many times in this. */
const TIMING = {
  ...{ heartbeatMs: 1_000, pongMs: 700, sseHeartbeatMs: 1_000, beatMs: 1_000, beatTimeoutMs: 5_000 },
  sweepMs: [1_000, 2_000] as const,
};
let postgres: Cluster;
let sql: Sql;
let apps: Instance[] = [];

test.before(async () => {
  postgres = await cluster(QUIET);
  sql = connect(postgres.url, { max: 1, name: "test" });
  apps = [await instance(postgres.url, { timing: TIMING }), await instance(postgres.url, { timing: TIMING })];
});
test.after(async () => {
  closeClients();
  await Promise.all(apps.map((app) => app.stop()));
  await close(sql, 1);
  await postgres?.stop();
});

interface Position {
  readonly lsn: string;
  readonly xid: string;
  readonly queue: number;
}

async function position(): Promise<Position> {
  const [row] = await sql<Position[]>`select pg_current_wal_insert_lsn()::text as lsn,
    pg_snapshot_xmax(pg_current_snapshot())::text as xid, pg_notification_queue_usage() as queue`;
  return row!;
}

test("open streams that wait cost the database no write and no NOTIFY, heartbeats included", async () => {
  const clients = [];
  for (const [at, app] of apps.entries()) {
    for (let user = 1; user <= 10; user++) {
      const headers = { authorization: `Bearer ${await token(10 * at + user)}` };
      clients.push(await socket(`${app.ws}/ws/notifications/`, { headers }));
      clients.push(await sse(`${app.url}/sse/notifications/?heartbeat=1`, headers));
    }
  }
  await Promise.all(clients.map((client) => client.find("ready")));
  for (let user = 1; user <= 20; user++) await store(sql, user);
  await Promise.all(clients.map((client) => client.find("notification")));
  await sleep(SETTLE_MS);
  // afterwards: no page is left that a read would tidy
  await sql`vacuum`;
  await sql`checkpoint`;
  const heard: string[] = [];
  const listening = connect(postgres.url, { max: 1, name: "test" });
  await listening.listen("tidings", (text) => void heard.push(text));
  const before = await position();
  const pongs = clients.reduce((sum, client) => sum + client.all("pong").length, 0);
  await sleep(WATCH_MS);
  const after = await position();
  await close(listening);
  assert.equal(after, before);
  assert.equal(heard, []);
  const beats = clients.reduce((sum, client) => sum + client.all("pong").length, 0) - pongs;
  assert.ok(beats > 100, `${beats} heartbeats`);
  for (const client of clients) assert.is(client.all("notification").length, 1);
});

test("what shows that nothing is written does show one write", async () => {
  const before = await position();
  await store(sql, 1);
  const after = await position();
  assert.not.equal(after.lsn, before.lsn);
  assert.not.equal(after.xid, before.xid);
});

test.run();
