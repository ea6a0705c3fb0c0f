/**
 * Everybody comes back at once: reads fold into few queries, all catch up soon, others go on meanwhile; and where there
 * is no place for all, some are sent away in order instead of all of them suffering.
 */
// @alone
// @timeout 90
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { FloorHandlers } from "../bench/floor_server.ts";
import { startChild } from "../bench/rpc.ts";
import { closeClients, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { instance, token } from "../helpers/instance.ts";
import { store } from "../helpers/streams.ts";
import type { CrowdOrder, CrowdReport } from "../model/crowd_process.ts";
import { endServers, server } from "../model/fleet.ts";

const test = suite("storm");
const CLIENTS = 5_000;
const MISSED = 20;
/** Between two entries of the one who goes on meanwhile. */
const PACE_MS = 50;
/** How long opening streams wait for each other (src/db/entries.ts). */
const GATHER_MS = 250;
let db: TestDatabase;
let crowd: ChildProcess | undefined;

test.before(async () => {
  db = await database({ domain: false });
});
test.after.each(async () => {
  crowd?.disconnect();
  crowd = undefined;
  closeClients();
  await endServers();
});
test.after(() => db?.drop());

/** How many queries of each kind the server has made for streams. */
async function queries(url: string): Promise<Record<string, number>> {
  const headers = { authorization: `Bearer ${await token(1, { scope: "metrics" })}` };
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  const counts = text.matchAll(/^tidings_query_seconds_count\{query="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...counts].map(([, name, count]) => [name, Number(count)]));
}

/** The same crowd at a bare `ws` server that checks no token and reads no table: what the machine can do just now. */
async function floor(): Promise<CrowdReport> {
  const child = startChild<FloorHandlers>("floor_server.ts");
  try {
    const url = await child.call("start", { url: db.url });
    const socketPath = `/1?replay=${MISSED}`;
    return await gather({ url, first: 1, count: CLIENTS, missed: MISSED, sseEvery: 0, socketPath });
  } finally {
    crowd?.disconnect();
    await child.stop();
  }
}

async function gather(order: CrowdOrder): Promise<CrowdReport> {
  const path = new URL("../model/crowd_process.ts", import.meta.url);
  crowd = fork(path, { execArgv: ["--import", "tsx"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  crowd.send(order);
  const [report] = (await once(crowd, "message")) as [CrowdReport];
  return report;
}

test("5,000 clients resuming at once have what they missed within seconds, by one read for a hundred of them", async () => {
  const users = Array.from({ length: CLIENTS }, (_, at) => 1_000 + at);
  for (let n = 1; n <= MISSED; n++) {
    await db.sql`select tidings.broadcast(${users}::bigint[], 'Title', ${`Message ${n}`}::text, 'note')`;
  }
  await db.sql`analyze`;
  const bare = await floor();
  const { url, memory } = await server({ databaseUrl: db.url, env: { DOMAIN: "off" } });
  const lively = await socket(`${url.replace("http", "ws")}/ws/notifications/`, {
    headers: { authorization: `Bearer ${await token(1)}` },
  });
  await lively.find("ready");
  const { cpu } = await memory();
  const coming = gather({ url, first: users[0]!, count: CLIENTS, missed: MISSED, sseEvery: 10 });
  const delays: number[] = [];
  let over = false;
  const others = (async () => {
    for (let id = 1; !over; id++) {
      const began = performance.now();
      await store(db.sql, 1);
      await lively.find((frame) => frame.id === id, 20_000);
      delays.push(performance.now() - began);
      await sleep(PACE_MS);
    }
  })();
  const { took, times, wrong, failed, cpu: clients } = await coming;
  over = true;
  await others;
  const { open = 0, read = 0, unread = 0 } = await queries(url);
  const worst = Math.round(Math.max(...delays));
  const spent = (await memory()).cpu - cpu;
  const ms = (value: number): string => `${Math.round(value)} ms`;
  console.log(
    `${CLIENTS} caught up in ${ms(took)}, half in ${ms(times[CLIENTS / 2]!)}; from bare ws in ${ms(bare.took)}`,
  );
  console.log(`CPU: server ${ms(spent)}, clients ${ms(clients)}; others waited ${ms(worst)} at most`);
  console.log(`queries: open ${open}, read ${read}, unread ${unread}`);
  assert.equal({ wrong, failed }, { wrong: 0, failed: 0 });
  // one for a hundred; where the machine lets them in more slowly than that, one for each time they are waited for
  const most = Math.max(CLIENTS / 100, took / GATHER_MS);
  assert.ok(open + read + unread <= most, `${open} + ${read} + ${unread} queries, ${Math.round(most)} would do`);
  // what two quiet cores take; on busy ones three times what a server takes that has no token to check and nothing to read
  const enough = Math.max(3_000, 3 * bare.took);
  assert.ok(took < enough, `${ms(took)}, and ${ms(bare.took)} from bare ws`);
  assert.ok(worst < enough, ms(worst));
});

test("over the limit streams are sent away to come back later, those inside notice nothing, and a place left is given again", async () => {
  const app = await instance(db.url, { env: { DOMAIN: "off", MAX_STREAMS: "50", MAX_STREAMS_PER_USER: "40" } });
  try {
    const open = async (user: number): Promise<SocketClient> =>
      socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(user) });
    const came = await Promise.all(Array.from({ length: 150 }, (_, at) => open(10_000 + at)));
    const codes: number[] = [];
    for (const client of came) void client.closed.then(({ code }) => codes.push(code));
    await eventually(() => codes.length === 100);
    assert.equal(new Set(codes), new Set([1013]));
    const turnedAway = await sse(`${app.url}/sse/notifications/`, await app.auth(10_200));
    assert.is(turnedAway.status, 200);
    assert.is(await turnedAway.ended, true);
    assert.match(turnedAway.text(), /^retry: \d+\n\n$/);
    const isIn = (client: SocketClient): boolean => client.frames.some((frame) => frame.type === "ready");
    await eventually(() => came.filter(isIn).length === 50);
    const inside = came.filter(isIn);
    await db.sql`select tidings.broadcast(array(select generate_series(10000, 10149)::bigint), 'T', 'x', 'note')`;
    await Promise.all(inside.map((client) => client.find("notification")));
    for (const client of inside.slice(0, 45)) client.close();
    await eventually(async () => {
      const again = await open(10_300);
      await again.find("ready", 500);
    });
    const mine = await Promise.all(Array.from({ length: 42 }, () => open(10_400)));
    const first = await Promise.race(mine.map(({ closed }) => closed));
    assert.is(first.code, 4409);
    const refused = await sse(`${app.url}/sse/notifications/`, await app.auth(10_400));
    assert.is(refused.status, 429);
  } finally {
    await app.stop();
  }
});

test.run();
