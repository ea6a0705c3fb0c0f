/**
 * Several app instances on one database: a row written by plain SQL from anywhere reaches the user's streams on all of
 * them, exactly once, also under load, with dropped connections and killed LISTEN backends.
 */
// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, type SocketClient, socket, sse, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { type Frame, killListeners, store } from "../helpers/streams.ts";

const test = suite("instances");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
let db: TestDatabase;
let apps: Instance[];

test.before(async () => {
  db = await database();
  apps = await Promise.all([instance(db.url), instance(db.url)]);
  await db.sql`insert into app."user" (username, email) select 'user' || n, 'user' || n || '@example.org'
    from generate_series(1, 4) n`;
});
test.after.each(closeClients);
test.after(async () => {
  await Promise.all((apps ?? []).map((app) => app.stop()));
  await db?.drop();
});

test("an invite inserted by plain SQL reaches both of the receiver's streams, one on each instance, exactly once", async () => {
  const [first, second] = [apps[0]!, apps[1]!];
  const headers = await first.auth(2);
  const streams = [
    await strictSocket(first.ws + WS, { headers }),
    await sse(second.url + SSE, headers),
    await socket(second.ws + WS, { headers: await first.auth(3) }),
  ];
  await Promise.all(streams.map((each) => each.find("ready")));
  const psql = db.connect({ max: 1, name: "psql" });
  await psql`insert into app.invite (sender_id, receiver_id, game) values (1, 2, 'chess')`;
  for (const each of streams.slice(0, 2)) await each.find("notification");
  await store(psql, 3, { message: "the end" });
  await store(psql, 2, { message: "the end" });
  for (const each of streams) await each.find((frame) => frame.data?.message === "the end");
  for (const each of streams.slice(0, 2)) {
    assert.equal(each.outline(), ["ready", "invite_created 1", "notification 1", "notification 2"]);
    const { invite } = each.frames[1] as { invite?: Record<string, unknown> };
    assert.is(invite?.game, "chess");
    assert.is(invite?.status, "pending");
  }
  assert.equal(streams[0]!.frames.slice(1), streams[1]!.frames.slice(1), "both transports got the same frames");
  assert.equal(streams[2]!.outline(), ["ready", "notification 1"]);
});

test("a write that is rolled back reaches nobody and leaves no hole; what its transaction wrote arrives together", async () => {
  const user = 50;
  const client = await socket(apps[0]!.ws + WS, { headers: await apps[0]!.auth(user) });
  await client.find("ready");
  await db.sql
    .begin(async (sql) => {
      await sql`select tidings.send_notification(${user}::bigint, 'T', 'never', 'note')`;
      throw new Error("rolled back");
    })
    .catch(() => {});
  await db.sql.begin(async (sql) => {
    await sql`select tidings.send_notification(${user}::bigint, 'T', 'a', 'note')`;
    await sql
      .savepoint((inner) => inner`select tidings.send_notification(${user}::bigint, 'T', null, null)`)
      .catch(() => {});
    await sql`select tidings.send_notification(${user}::bigint, 'T', 'b', 'note')`;
  });
  await client.find((frame) => frame.id === 2);
  assert.equal(
    client.all("notification").map(({ id, data }) => [id, data?.message]),
    [
      [1, "a"],
      [2, "b"],
    ],
  );
});

interface Follower {
  /** (id, type) in the order in which they were seen, duplicates too. */
  readonly seen: string[];
  readonly cursor: number;
  readonly drops: number;
  /** Loses the connection now. */
  drop(): void;
  stop(): void;
}

/** A client as the contract describes one: keeps its cursor, comes back with it on whichever instance. */
function follow(user: number, transport: "ws" | "sse", headers: Record<string, string>): Follower {
  const seen: string[] = [];
  let [cursor, drops, stopped] = [0, 0, false];
  let current: { close(): void } | undefined;
  const take = ({ id, type, more }: Frame): void => {
    if (id === undefined) return;
    seen.push(`${id} ${type}`);
    if (!more) cursor = id;
  };
  async function connect(): Promise<void> {
    const app = apps[(user + drops) % apps.length]!;
    const query = `?last_event_id=${cursor}`;
    const client = await (transport === "ws"
      ? socket(app.ws + WS + query, { headers })
      : sse(app.url + SSE + query, headers));
    const ended = "closed" in client ? client.closed : client.ended;
    current = client;
    let read = 0;
    let live = true;
    void Promise.resolve(ended).then(() => {
      live = false;
    });
    while (live && current === client && !stopped) {
      for (; read < client.frames.length; read++) take(client.frames[read]!);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    client.close();
  }
  const loop = async (): Promise<void> => {
    while (!stopped) {
      await connect().catch(() => {});
      drops += 1;
    }
  };
  void loop();
  return {
    seen,
    get cursor() {
      return cursor;
    },
    get drops() {
      return drops;
    },
    drop() {
      current = undefined;
    },
    stop() {
      stopped = true;
    },
  };
}

/** Single rows, many rows for one, one row for many, both in opposite orders, events, and what is rolled back. */
async function write(users: readonly number[], rounds: number): Promise<void> {
  const any = (): number => users[Math.floor(Math.random() * users.length)]!;
  const sql = db.connect({ max: 1, name: "writer" });
  const kinds = [
    () => store(sql, any()),
    () => store(sql, any(), { event: { type: "moved" } }),
    () => store(sql, any(), { event: { type: "moved" }, message: null }),
    () => sql`select tidings.broadcast(${users as number[]}::bigint[], 'T', 'all', 'note')`,
    () => sql`select tidings.send_notification(${any()}::bigint, 'T', n::text, 'note') from generate_series(1, 15) n`,
    () =>
      sql.begin(async (tx) => {
        for (const user of [any(), any(), any()]) {
          await tx`select tidings.send_notification(${user}::bigint, 'T', 'several', 'note')`;
        }
      }),
    () =>
      sql.begin(async (tx) => {
        await tx`select tidings.broadcast(${users as number[]}::bigint[], 'T', 'never', 'note')`;
        throw new Error("rolled back");
      }),
  ];
  for (let round = 0; round < rounds; round++) {
    const kind = kinds[Math.floor(Math.random() * kinds.length)]!;
    await Promise.resolve(kind()).catch((error: Error) => assert.is(error.message, "rolled back"));
  }
}

test("20 users with two streams each, dropped and resumed at random, get 1..N once and in order on both transports", async () => {
  const users = Array.from({ length: 20 }, (_, at) => 100 + at);
  const followers = new Map<Follower, number>();
  for (const user of users) {
    const headers = await apps[0]!.auth(user);
    for (const transport of ["ws", "sse"] as const) followers.set(follow(user, transport, headers), user);
  }
  const all = [...followers.keys()];
  const dropping = setInterval(() => all[Math.floor(Math.random() * all.length)]!.drop(), 10);
  try {
    await Promise.all([killListeners(db.sql), ...Array.from({ length: 4 }, () => write(users, 50))]);
    await Promise.all([killListeners(db.sql), ...Array.from({ length: 4 }, () => write(users, 50))]);
  } finally {
    clearInterval(dropping);
  }
  await killListeners(db.sql);
  await write(users, 5);
  const stored = await db.sql<{ user_id: string; expected: string[] }[]>`
    select user_id, array_agg(id || ' ' || type order by id, nth) as expected from (
      select user_id, id, event ->> 'type' as type, 1 as nth from tidings.notification where event is not null
      union all
      select user_id, id, 'notification', 2 from tidings.notification where message is not null) frames
    group by user_id`;
  const expected = new Map(stored.map((row) => [row.user_id, row.expected]));
  for (const [follower, user] of followers) {
    const frames = expected.get(String(user))!;
    await eventually(() => assert.is(follower.seen.at(-1), frames.at(-1)), { deadlineMs: 15_000 });
    const ids = frames.map((frame) => Number.parseInt(frame, 10));
    assert.is(new Set(ids).size, ids.at(-1), "the database has 1..N itself");
    assert.equal(withoutRepeatedHalves(follower.seen), frames);
  }
  assert.ok(all.reduce((sum, { drops }) => sum + drops, 0) > 20, "connections were dropped");
  for (const follower of all) follower.stop();
});

/**
 * Whoever loses its connection between the two frames of an entry is sent both again: the cursor had not moved.
 * Only then may an event come twice, as the last frame before a drop and the first after it.
 */
function withoutRepeatedHalves(seen: readonly string[]): string[] {
  return seen.filter((frame, at) => !(frame === seen[at - 1] && frame.endsWith(" moved")));
}

test("a user's streams see that user's entries alone, whatever the id looks like", async () => {
  const names = ["7", "77", "user_7", "7%", "a'b", "ünï", "room_7"];
  const clients: SocketClient[] = [];
  for (const name of names) clients.push(await socket(apps[0]!.ws + WS, { headers: await apps[0]!.auth(name) }));
  await Promise.all(clients.map((client) => client.find("ready")));
  for (const name of names) await store(db.sql, name, { message: `for ${name}` });
  for (const [at, client] of clients.entries()) {
    assert.is((await client.find("notification")).data?.message, `for ${names[at]}`);
  }
  for (const client of clients) assert.is(client.all("notification").length, 1);
});

test.run();
