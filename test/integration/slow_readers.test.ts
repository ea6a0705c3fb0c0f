/**
 * Clients that stop reading: they cost the server bounded memory and the others nothing, get everything once they read
 * again, and are sent away after the write deadline so that they can resume. The server is a process of its own.
 */
// @alone
// @timeout 120
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { openSink } from "../../src/runtime/node_sink.ts";
import type { Sink } from "../../src/transport/peer.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
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

async function metrics(url: string): Promise<string> {
  const headers = { authorization: `Bearer ${await token(1, { scope: "metrics" })}` };
  return (await fetch(`${url}/metrics`, { headers })).text();
}

/** Entries were sent, and no more are: whoever is to be congested is. */
async function standstill(url: string): Promise<void> {
  let last = 0;
  const sent = async (): Promise<number> => {
    const counts = (await metrics(url)).matchAll(/^tidings_sends_total\{.*\} (\d+)$/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  await eventually(
    async () => {
      const before = last;
      last = await sent();
      return last > 0 && last === before;
    },
    { everyMs: 500, deadlineMs: 20_000 },
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
  await eventually(async () => assert.match(await metrics(url), /^tidings_slow_readers_total 2$/m), {
    deadlineMs: 20_000,
    everyMs: 200,
  });
  for (const client of clients) client.resume();
  await complete(clients, 12_000);
  assert.ok(clients.every(({ connections }) => connections > 1));
});

test("stuck readers that say goodbye, or just go, do not stop the server", async () => {
  const { url } = await start(120_000);
  const { port } = new URL(url);
  const user = ++users;
  const bearer = await token(user);
  const [lively] = await follow(url, ++users, 1);
  const requests = [
    upgradeRequest(`/ws/notifications/?token=${bearer}`),
    `GET /sse/notifications/?token=${bearer} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
  ];
  const clients = await Promise.all(Array.from({ length: 20 }, (_, at) => rawClient(Number(port), requests[at % 2]!)));
  await eventually(() => clients.every((client) => client.received().includes('"ready"')));
  for (const { socket } of clients) socket.pause();
  await fill([user], 12_000);
  await standstill(url);
  for (const [at, { socket }] of clients.entries()) {
    if (at < 10) socket.end();
    else socket.resetAndDestroy();
  }
  for (let id = 1; id <= 5; id++) {
    await store(sql, lively!.user);
    await eventually(() => lively!.cursor === id, { deadlineMs: 15_000 });
  }
  for (const { socket } of clients) socket.destroy();
});

test("an outlet whose client said goodbye with data unread is not drained before it is closed", async () => {
  const outlets: Sink[] = [];
  const log = { error() {}, warn() {} };
  const http = createServer((_request, response) => {
    response.flushHeaders();
    openSink(
      response,
      (sink) => outlets.push(sink),
      () => {},
      log,
    );
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = http.address() as AddressInfo;
    const sockets: Socket[] = [];
    http.on("connection", (socket: Socket) => sockets.push(socket));
    const client = await rawClient(port, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await eventually(() => outlets.length === 1);
    client.socket.pause();
    const [outlet] = outlets;
    outlet!.write("x".repeat(16 * MB));
    client.socket.end();
    await eventually(() => !sockets[0]!.writable);
    outlet!.write("x".repeat(MB));
    assert.ok(outlet!.buffered > MB);
    let isDrained = false;
    const drained = outlet!.drained().then(() => {
      isDrained = true;
    });
    // who waits in a loop until there is room gives nobody else a turn where this resolves at once
    await new Promise((resolve) => setImmediate(resolve));
    assert.is(isDrained, false);
    client.socket.destroy();
    await drained;
    assert.is(outlet!.buffered, 0);
  } finally {
    http.closeAllConnections();
    http.close();
  }
});

test.run();
