/**
 * More than the database serves: REST says so at once instead of letting a queue grow, streams that are open notice
 * nothing, new ones are sent away only where they themselves would wait, and afterwards all is served again.
 */
// @timeout 60
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { rawClient } from "../helpers/raw.ts";
import { store } from "../helpers/streams.ts";

const test = suite("overload");
const POOL = 4;
/** One of `src/http/load.ts`'s seconds, and one more. */
const WAIT_MS = 2_000;
let db: TestDatabase;
let app: Instance;

test.before(async () => {
  db = await database();
  app = await instance(db.url, { poolSize: POOL });
  await db.sql`insert into app."user" (username) select 'user' || n from generate_series(1, 9) n`;
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

interface Answer {
  readonly status: number;
  readonly ms: number;
  readonly retryAfter: number;
  readonly type: string | null;
}

async function ask(path: string, headers: Record<string, string>): Promise<Answer> {
  const began = performance.now();
  const response = await fetch(app.url + path, { headers });
  await response.text();
  const { status, headers: answered } = response;
  const type = answered.get("content-type");
  return { status, ms: performance.now() - began, retryAfter: Number(answered.get("retry-after")), type };
}

async function refused(): Promise<number> {
  const text = await (await fetch(`${app.url}/metrics`, { headers: await app.auth("p", { scope: "metrics" }) })).text();
  return Number(/^tidings_rest_refused_total (\d+)$/m.exec(text)?.[1]);
}

/** Nobody gets at the table meanwhile. */
async function locked<T>(table: string, work: () => Promise<T>): Promise<T> {
  const held = db.connect({ max: 1 });
  return (await held.begin(async (tx) => {
    await (tx as unknown as Sql).unsafe(`lock table ${table} in access exclusive mode`);
    return work();
  })) as T;
}

/** Milliseconds until the stream has what was stored for its user just now; too big to travel, it has to be read. */
async function delay(client: Awaited<ReturnType<typeof socket>>, user: number, message: string): Promise<number> {
  const began = performance.now();
  await store(db.sql, user, { message: message.padEnd(9_000, ".") });
  await client.find(({ data }) => String(data?.message).startsWith(`${message}.`), 5_000);
  return performance.now() - began;
}

test("where the pool is stuck, REST is refused at once with Retry-After; streams go on, and those let in are answered", async () => {
  const headers = await app.auth(1);
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(2) });
  await stream.find("ready");
  let early: Promise<Answer[]> | undefined;
  const late: Answer[] = [];
  const delays: number[] = [];
  await locked("app.task", async () => {
    early = Promise.all(Array.from({ length: 60 }, () => ask("/api/tasks", headers)));
    await eventually(async () => {
      const answer = await Promise.race([ask("/api/tasks", headers), sleep(500, null)]);
      assert.is(answer?.status, 503);
    });
    for (let round = 1; round <= 5; round++) {
      const burst = Array.from({ length: 40 }, () => ask("/api/tasks", headers));
      delays.push(await delay(stream, 2, `Round ${round}`));
      late.push(...(await Promise.all(burst)));
    }
    const opened = await socket(`${app.ws}/ws/notifications/?last_event_id=0`, { headers: await app.auth(2) });
    await opened.find("notification");
    assert.is((await ask("/healthz", {})).status, 200);
    assert.is((await ask("/readyz", {})).status, 503);
    assert.ok((await refused()) >= late.length);
    // what has to ask where REST waits would wait too
    const room = await socket(`${app.ws}/ws/chat/room/1/`, { headers });
    assert.is((await room.closed).code, 1013);
  });
  assert.is(late.filter(({ status }) => status === 503).length, late.length);
  assert.equal(new Set(late.map(({ type }) => type)), new Set(["application/problem+json"]));
  assert.ok(late.every(({ retryAfter }) => retryAfter >= 1));
  const slowest = Math.max(...late.map(({ ms }) => ms));
  console.log(`refused within ${Math.round(slowest)} ms; streams waited ${Math.round(Math.max(...delays))} ms at most`);
  assert.ok(slowest < WAIT_MS, `${slowest} ms`);
  assert.ok(Math.max(...delays) < WAIT_MS, `${delays}`);
  // on a slow machine the last of them come late
  const answered = (await early!).filter(({ status }) => status !== 503);
  assert.equal(new Set(answered.map(({ status }) => status)), new Set([200]));
  assert.ok(answered.length > POOL, `${answered.length} were let in`);
  const after = await Promise.all(Array.from({ length: 50 }, () => ask("/api/tasks", headers)));
  assert.equal(new Set(after.map(({ status }) => status)), new Set([200]));
  assert.is((await ask("/readyz", {})).status, 200);
});

test("a key set that does not answer is no load: who has a good token is served", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const other = await instance(db.url, { poolSize: POOL, env: { JWKS_URL: `http://127.0.0.1:${port}/` } });
  const head = Buffer.from('{"alg":"RS256","kid":"nobody"}').toString("base64url");
  const claims = Buffer.from('{"user_id":1,"exp":4102444800}').toString("base64url");
  const strangers = Array.from({ length: 20 }, () =>
    fetch(`${other.url}/api/tasks`, { headers: { authorization: `Bearer ${head}.${claims}.AAAA` } }).catch(() => {}),
  );
  await sleep(WAIT_MS);
  assert.is((await fetch(`${other.url}/api/tasks`, { headers: await other.auth(1) })).status, 200);
  silent.closeAllConnections();
  await Promise.all([...strangers, other.stop(), new Promise((resolve) => silent.close(resolve))]);
});

test("rooms that are looked up too slowly send newcomers away as well", async () => {
  const headers = await app.auth(1);
  await locked("app.room_member", async () => {
    for (let n = 0; n < 3 * POOL; n++) void socket(`${app.ws}/ws/chat/room/1/`, { headers }).catch(() => {});
    await eventually(async () => {
      const late = await Promise.race([socket(`${app.ws}/ws/chat/room/1/`, { headers }), sleep(500, null)]);
      assert.is(late && (await late.closed).code, 1013);
    });
  });
});

test("a slow body waits for itself: it holds nobody's place", async () => {
  const before = await refused();
  const { authorization } = await app.auth(1);
  const body = '{"title":"slow"}';
  const head = [
    "POST /api/tasks HTTP/1.1",
    "Host: localhost",
    "Connection: close",
    `Authorization: ${authorization}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
  ].join("\r\n");
  const { port } = new URL(app.url);
  const half = `${head}\r\n\r\n${body.slice(0, 8)}`;
  const senders = await Promise.all(Array.from({ length: 50 }, () => rawClient(Number(port), half)));
  await sleep(WAIT_MS);
  assert.is((await ask("/api/tasks", { authorization })).status, 200);
  for (const { socket } of senders) socket.write(body.slice(8));
  await Promise.all(senders.map(({ ended }) => ended));
  for (const sender of senders) assert.match(sender.received(), /^HTTP\/1.1 201 /);
  assert.is(await refused(), before);
});

test("where first reads of streams are stuck, new ones are sent away, and let in again when it is over", async () => {
  const headers = await app.auth(3);
  const stream = await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(4) });
  await stream.find("ready");
  const { waiting } = await locked("tidings.inbox", async () => {
    const waiting = await socket(`${app.ws}/ws/notifications/`, { headers });
    // more than one query asks for: those of one that hangs say nothing of the others
    for (let user = 1_000; user < 1_210; user++) {
      void socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(user) }).catch(() => {});
    }
    await eventually(
      async () => {
        const late = await socket(`${app.ws}/ws/notifications/`, { headers });
        assert.is((await Promise.race([late.closed, sleep(500, { code: 0 })])).code, 1013);
      },
      { deadlineMs: 30_000, everyMs: 500 },
    );
    const client = await sse(`${app.url}/sse/notifications/`, headers);
    assert.is(client.status, 200);
    assert.is(await client.ended, true);
    assert.match(client.text(), /^retry: \d+\n\n$/);
    return { waiting };
  });
  await waiting.find("ready");
  await eventually(async () => {
    const again = await socket(`${app.ws}/ws/notifications/`, { headers });
    await again.find("ready", 1_000);
  });
  assert.is(stream.all("ready").length, 1);
  assert.ok((await delay(stream, 4, "Later")) < 5_000);
});

test.run();
