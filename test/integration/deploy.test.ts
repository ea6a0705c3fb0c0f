/**
 * Deploys: three instances replaced one after another under constant load, as real processes that get real signals;
 * and that streams which come and go leave nothing behind.
 */
// @alone
// @timeout 300
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { SECRET, token } from "../helpers/instance.ts";
import { checkFollower, storedOf } from "../model/check.ts";
import { endServers, server } from "../model/fleet.ts";
import { type Follower, follower } from "../model/follower.ts";

const test = suite("deploy");
const MB = 2 ** 20;
const DRAIN_SECONDS = 3;
const STREAMS = 20_000;
/** As many users; afterwards caches are as full as they get. */
const WARM_UP = 5_000;
/** 150 bytes a stream would show. */
const HEAP_MB = 3;
let db: TestDatabase;
const followers: Follower[] = [];

test.before(async () => {
  db = await database({ domain: false });
});
test.after.each(async () => {
  for (const one of followers.splice(0)) one.stop();
  closeClients();
  await Promise.all([endAll(), endServers()]);
});
test.after(() => db?.drop());

const serve = (): Cli =>
  tidings(["serve"], { DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off", DRAIN_SECONDS: String(DRAIN_SECONDS) });

/** The largest share of the ends that came within one window of so many ms. */
function crowding(ends: readonly number[], windowMs: number): number {
  const sorted = [...ends].sort((a, b) => a - b);
  return Math.max(...sorted.map((at) => sorted.filter((end) => end >= at && end < at + windowMs).length)) / ends.length;
}

test("three instances rolled under load with 300 clients: none lost, none twice, reconnects spread, all exit 0", async () => {
  const running = [serve(), serve(), serve()];
  const urls = await Promise.all(running.map(({ url }) => url));
  let turn = 0;
  const pick = (): string => urls[turn++ % urls.length]!;
  const users = Array.from({ length: 50 }, (_, at) => 1 + at);
  for (const user of users) {
    const headers = { authorization: `Bearer ${await token(user)}` };
    for (let at = 0; at < 6; at++) {
      followers.push(follower({ user, transport: at % 2 ? "sse" : "ws", from: null, headers, pick }));
    }
  }
  await eventually(() => followers.every((one) => one.ready), { deadlineMs: 30_000 });
  let writing = true;
  const writer = (async () => {
    for (let n = 0; writing; n++) {
      await db.sql`select tidings.send_notification(${users[n % users.length]!}::bigint, 'T', 'x', 'note')`;
      if (n % 10 === 0) await db.sql`select tidings.broadcast(${users}::bigint[], 'T', 'all', 'note')`;
      await sleep(5);
    }
  })();
  for (const [at, old] of running.entries()) {
    const address = await old.url;
    const moved = (): number[] => followers.flatMap(({ ends }) => ends);
    const before = moved().length;
    old.kill("SIGTERM");
    // a load balancer takes a moment to see that it is not ready any more
    setTimeout(() => urls.splice(urls.indexOf(address), 1), 300);
    assert.equal(await old.exited, { code: 0, signal: null });
    const ends = moved().slice(before);
    const share = crowding(ends, (DRAIN_SECONDS * 1_000) / 4);
    console.log(
      `instance ${at + 1}: ${ends.length} connections ended, at most ${(100 * share).toFixed()} % in a quarter of the window`,
    );
    assert.ok(share < 0.6, "all at once");
    running[at] = serve();
    urls.push(await running[at].url);
  }
  writing = false;
  await writer;
  for (const user of users) {
    const stored = await storedOf(db.sql, user);
    const mine = followers.filter((one) => one.user === user);
    await eventually(() => mine.every(({ cursor }) => cursor === stored.length), { deadlineMs: 20_000 });
    assert.equal(
      mine.flatMap((one) => checkFollower(one, stored)),
      [],
    );
  }
  const entries = followers.reduce((sum, { received }) => sum + received.length, 0);
  console.log(`${entries} entries received by 300 clients, 0 lost, 0 twice`);
});

test(`${STREAMS} streams opened and dropped, in order or not, leave nothing behind`, async () => {
  const { url, memory } = await server({ databaseUrl: db.url, env: { DOMAIN: "off" } }, ["--expose-gc"]);
  const users = WARM_UP;
  const tokens = await Promise.all(Array.from({ length: users }, (_, at) => token(100_000 + at)));
  const ws = url.replace("http", "ws");
  const ways = [
    async (query: string) => {
      const client = await socket(`${ws}/ws/notifications/${query}`);
      await client.find("ready", 20_000);
      client.close();
    },
    async (query: string) => {
      const client = await sse(`${url}/sse/notifications/${query}`);
      await client.find("ready", 20_000);
      client.close();
    },
    // gone before it was let in
    async (query: string) => (await socket(`${ws}/ws/notifications/${query}`)).close(),
    async (query: string) => (await sse(`${url}/sse/notifications/${query}`)).close(),
  ];
  let next = 0;
  const comeAndGo = async (count: number): Promise<void> => {
    const end = next + count;
    const lane = async (): Promise<void> => {
      while (next < end) {
        const nth = next++;
        await ways[nth % ways.length]!(`?token=${tokens[nth % users]}`);
      }
    };
    await Promise.all(Array.from({ length: 50 }, lane));
    closeClients();
  };
  /** Back to where it was: presence forgets a user five seconds after the last stream. */
  const settled = async (): Promise<{ heap: number; streams: number | undefined }> => {
    const headers = { authorization: `Bearer ${await token(1, { scope: "metrics" })}` };
    await eventually(
      async () => {
        const text = await (await fetch(`${url}/metrics`, { headers })).text();
        const open = [...text.matchAll(/^tidings_streams\{.*\} (\d+)$/gm)].map(([, many]) => Number(many));
        assert.is(
          open.reduce((sum, many) => sum + many, 0),
          0,
        );
      },
      { deadlineMs: 20_000 },
    );
    await sleep(7_000);
    const { heap, streams } = await memory();
    return { heap: heap / MB, streams };
  };
  await comeAndGo(WARM_UP);
  const before = await settled();
  await comeAndGo(STREAMS);
  const after = await settled();
  console.log(`heap ${before.heap.toFixed(1)} MB before, ${after.heap.toFixed(1)} MB after ${STREAMS} streams`);
  const more = after.heap - before.heap;
  assert.ok(more < HEAP_MB, `${more.toFixed(1)} MB more`);
  assert.is(after.streams, before.streams === undefined ? undefined : 0);
});

test.run();
