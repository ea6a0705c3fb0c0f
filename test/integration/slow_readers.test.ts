/**
 * Clients that stop reading: they cost the server bounded memory and the others nothing, get everything once they read
 * again, and are sent away after the write deadline so that they can resume. The server is a process of its own.
 */
// @alone
// @timeout 120
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import { checkFollower, storedOf } from "../model/check.ts";
import { endServers, type Server, server } from "../model/fleet.ts";
import { type Follower, follower } from "../model/follower.ts";

const test = suite("slow readers");
const MB = 2 ** 20;
let db: TestDatabase;
let sql: Sql;
let users = 0;
const followers: Follower[] = [];

test.before(async () => {
  db = await database({ domain: false });
  sql = db.sql;
});
test.after.each(async () => {
  for (const one of followers.splice(0)) one.stop();
  await endServers();
});
test.after(() => db?.drop());

/** Without heartbeats: a socket that is not read answers none. */
function start(stuckMs: number): Promise<Server> {
  const env = { DOMAIN: "off", MAX_STREAMS_PER_USER: "100" };
  return server({ databaseUrl: db.url, env, timing: { stuckMs, heartbeatMs: 600_000 } }, ["--expose-gc"]);
}

/** Streams of one user on both transports by turns, all ready. */
async function follow(url: string, user: number, count: number): Promise<Follower[]> {
  const headers = { authorization: `Bearer ${await token(user)}` };
  const clients = Array.from({ length: count }, (_, at) =>
    follower({ user, transport: at % 2 ? "sse" : "ws", from: 0, headers, pick: () => url }),
  );
  followers.push(...clients);
  await eventually(() => clients.every((client) => client.ready), { deadlineMs: 20_000 });
  return clients;
}

/** Entries of some 1.3 KB on the wire. */
async function fill(toUsers: readonly number[], each: number): Promise<void> {
  for (const user of toUsers) {
    await sql`select tidings.send_notification(${user}::bigint, 'T', rpad(n::text, 1000), 'note')
      from generate_series(1, ${each}::int) n`;
  }
}

async function complete(clients: readonly Follower[], id: number, deadlineMs = 60_000): Promise<void> {
  await eventually(() => clients.every(({ cursor }) => cursor === id), { deadlineMs, everyMs: 100 });
  const stored = await storedOf(sql, clients[0]!.user);
  assert.equal(
    clients.flatMap((client) => checkFollower(client, stored)),
    [],
  );
}

test("200 readers that stand still before 10,000 entries each cost bounded memory and delay nobody; reading again they get all", async () => {
  const { url, memory } = await start(120_000);
  const slow = Array.from({ length: 10 }, () => ++users);
  const still = (await Promise.all(slow.map((user) => follow(url, user, 20)))).flat();
  const [lively] = await follow(url, ++users, 1);
  const before = await memory();
  for (const client of still) client.pause();
  await fill(slow, 10_000);
  const delays: number[] = [];
  for (let id = 1; id <= 20; id++) {
    const began = performance.now();
    await store(sql, lively!.user);
    await eventually(() => lively!.cursor === id, { everyMs: 2, deadlineMs: 10_000 });
    delays.push(performance.now() - began);
  }
  const during = await memory();
  const grown = (during.rss - before.rss) / MB;
  const worst = Math.round(Math.max(...delays));
  console.log(`${grown.toFixed(1)} MB more with 200 readers stuck before 2.6 GB; others waited ${worst} ms at most`);
  assert.ok(grown < 150, `${grown} MB`);
  assert.ok(worst < 3_000);
  // one of each user, on either transport, for the client is JavaScript too
  const again = slow.map((user, at) => still.filter((client) => client.user === user)[at % 2]!);
  for (const client of again) client.resume();
  for (const user of slow) {
    await complete(
      again.filter((client) => client.user === user),
      10_000,
    );
  }
  assert.ok(
    again.every(({ connections }) => connections === 1),
    "on the connection they had",
  );
});

test("a reader stuck past the write deadline is sent away, resumes and has everything once", async () => {
  const { url } = await start(1_500);
  const user = ++users;
  const clients = await follow(url, user, 2);
  for (const client of clients) client.pause();
  await fill([user], 12_000);
  const headers = { authorization: `Bearer ${await token(1, { scope: "metrics" })}` };
  await eventually(
    async () => {
      const text = await (await fetch(`${url}/metrics`, { headers })).text();
      assert.match(text, /^tidings_slow_readers_total 2$/m);
    },
    { deadlineMs: 20_000, everyMs: 200 },
  );
  for (const client of clients) client.resume();
  await complete(clients, 12_000);
  assert.ok(clients.every(({ connections }) => connections > 1));
});

test("stuck readers that lose their connection do not stop the server", async () => {
  const { url } = await start(120_000);
  const user = ++users;
  const clients = await follow(url, user, 20);
  const [lively] = await follow(url, ++users, 1);
  for (const client of clients) client.pause();
  await fill([user], 12_000);
  for (const client of clients) client.stop();
  await store(sql, lively!.user);
  await eventually(() => lively!.cursor === 1, { deadlineMs: 15_000 });
  const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(10_000) });
  assert.is(answer.status, 200);
});

test.run();
