// The LISTEN connection against real faults: a killed backend, a half-open socket, a server that is not there yet.
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Sql } from "../../src/db/client.ts";
import { createListener, type Listener, type ListenerOptions } from "../../src/db/listener.ts";
import { TidingsError } from "../../src/errors.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { proxyFor, type TcpProxy } from "../helpers/proxy.ts";

const CHANNEL = 'we"ird';
const test = suite("listener");
let db: TestDatabase;
let proxy: TcpProxy;

interface Watched extends Listener {
  log: string[];
  errors: Error[];
  /** Time of the newest onDown. */
  downAt: number;
}
const open: Watched[] = [];

function watch(changes: Partial<ListenerOptions> = {}): Watched {
  const log: string[] = [];
  const errors: Error[] = [];
  const listener = createListener({
    ...{ url: proxy.through(db.url), channel: CHANNEL, beatMs: 100, beatTimeoutMs: 200 },
    onPayload: (payload) => log.push(payload),
    onUp: () => log.push("up"),
    onDown: () => {
      log.push("down");
      watched.downAt = Date.now();
    },
    onError: (error) => errors.push(error),
    beat: (sql) => sql`select 1`,
    ...changes,
  });
  const watched: Watched = Object.defineProperties(
    { log, errors, downAt: 0 },
    Object.getOwnPropertyDescriptors(listener),
  ) as Watched;
  open.push(watched);
  return watched;
}

const backends = (): Promise<{ pid: number }[]> => db.sql<{ pid: number }[]>`
  select pid from pg_stat_activity where application_name = 'tidings listener' and datname = current_database()`;
const terminate = (): Promise<unknown> => db.sql`
  select pg_terminate_backend(pid) from pg_stat_activity
  where application_name = 'tidings listener' and datname = current_database()`;
const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

async function rejection(promise: Promise<unknown>): Promise<TidingsError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, TidingsError);
    return error as TidingsError;
  }
  throw new Error("it did not reject");
}

const rejectionText = (promise: PromiseLike<unknown>): Promise<string> =>
  Promise.resolve(promise).then(
    () => "no rejection",
    (error: Error) => error.message,
  );

test.before(async () => {
  db = await database({ migrate: false });
});
test.before.each(async () => {
  proxy = await proxyFor(db.url);
});
test.after.each(async () => {
  await Promise.all(open.splice(0).map((listener) => listener.stop()));
  await proxy.close();
  await eventually(async () => (await backends()).length === 0);
});
test.after(() => db.drop());

test("a notification on its channel arrives, one on another channel does not", async () => {
  const listener = watch();
  await listener.start();
  assert.ok(listener.up);
  await db.sql`select pg_notify('other', 'no')`;
  await db.sql.notify(CHANNEL, "räksmörgås");
  await eventually(() => listener.log.includes("räksmörgås"));
  assert.equal(listener.log, ["up", "räksmörgås"]);
});

test("a terminated backend is noticed at once, and LISTEN is there again", async () => {
  const listener = watch({ beatMs: 60_000 });
  await listener.start();
  const before = Date.now();
  await terminate();
  await eventually(() => listener.log.length === 3);
  assert.equal(listener.log, ["up", "down", "up"]);
  assert.ok(listener.downAt - before < 200, `noticed after ${listener.downAt - before} ms`);
  await db.sql.notify(CHANNEL, "again");
  await eventually(() => listener.log.at(-1) === "again");
  assert.is(proxy.peak, 1, "never two connections at once");
});

test("a half-open connection is noticed within beat and timeout, dropped and made anew", async () => {
  const listener = watch();
  await listener.start();
  const old = listener.sql!;
  const before = Date.now();
  proxy.stall();
  await eventually(() => listener.log.includes("down"));
  const took = listener.downAt - before;
  assert.ok(took < 100 + 200 + 150, `noticed after ${took} ms`);
  assert.not(listener.up);
  assert.is(listener.sql, null);
  await eventually(() =>
    old`select 1`.then(
      () => false,
      () => true,
    ),
  );
  proxy.cut();
  proxy.resume();
  await eventually(() => listener.up);
  assert.not(listener.sql === old);
  await db.sql.notify(CHANNEL, "alive");
  await eventually(() => listener.log.at(-1) === "alive");
  await eventually(async () => (await backends()).length === 1);
});

test("the beat runs on the listening connection, whose session locks last as long as it does", async () => {
  const pids = new Set<number>();
  const listener = watch({
    beatMs: 20,
    beat: async (sql) => pids.add((await sql<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]!.pid),
  });
  await listener.start();
  await listener.sql!`select pg_advisory_lock(42)`;
  const isFree = async (): Promise<boolean> => {
    const [row] = await db.sql<{ free: boolean }[]>`
      select not exists (select from pg_locks where locktype = 'advisory' and objid = 42) as free`;
    return row!.free;
  };
  await eventually(() => pids.size > 0);
  assert.equal(
    [...pids],
    (await backends()).map(({ pid }) => pid),
  );
  assert.not(await isFree());
  await terminate();
  await eventually(isFree);
});

test("Postgres asks by itself whether the other side is there, and soon", async () => {
  const listener = watch();
  await listener.start();
  const [row] = await listener.sql!`
    select current_setting('tcp_keepalives_idle')::int + 3 * current_setting('tcp_keepalives_interval')::int as seconds`;
  assert.is(row!.seconds, 14);
  assert.equal(listener.errors, []);
});

test("a beat that fails in its own SQL is reported and keeps the connection", async () => {
  let beats = 0;
  const listener = watch({
    beatMs: 20,
    beat: (sql) => (beats++ % 2 ? sql`select 1/0` : Promise.reject(new Error("mine"))),
  });
  await listener.start();
  await eventually(() => listener.errors.length >= 4);
  assert.match(listener.errors.map(String).join(), /division by zero/);
  assert.match(listener.errors.map(String).join(), /mine/);
  assert.equal(listener.log, ["up"]);
  assert.is(proxy.accepted, 1);
});

test("callbacks that throw are reported, and the listener goes on", async () => {
  const fail = (): never => {
    throw new Error("callback");
  };
  const listener = watch({ onUp: fail, onDown: fail, onPayload: fail });
  await listener.start();
  await db.sql.notify(CHANNEL, "one");
  await eventually(() => listener.errors.length === 2);
  await terminate();
  await eventually(() => proxy.accepted === 2 && listener.up);
  await db.sql.notify(CHANNEL, "two");
  await eventually(() => listener.errors.filter(({ message }) => message === "callback").length === 5);
});

test("a server that is not there yet is waited for, and told of once", async () => {
  proxy.refuse(true);
  const listener = watch();
  const started = listener.start();
  await eventually(() => listener.errors.length >= 3);
  assert.equal(listener.log, ["down"]);
  proxy.refuse(false);
  await started;
  assert.equal(listener.log, ["down", "up"]);
});

test("a server that hangs up at once is tried with growing waits, not in a loop", async () => {
  let accepted = 0;
  const rude = net.createServer((socket) => {
    accepted++;
    socket
      .on("error", () => {})
      .resume()
      .end();
  });
  await new Promise<void>((resolve) => rude.listen(0, "127.0.0.1", resolve));
  const { port } = rude.address() as net.AddressInfo;
  const listener = watch({ url: `postgres://a:b@127.0.0.1:${port}/c` });
  const started = rejection(listener.start());
  await eventually(() => listener.errors.length >= 3);
  assert.ok(accepted <= listener.errors.length + 1, `${accepted} connections, ${listener.errors.length} attempts`);
  assert.match(listener.errors[0]!.message, "before it was ready");
  await listener.stop();
  await started;
  await new Promise((resolve) => rude.close(resolve));
});

test("a server that accepts and never answers does not hold up stop()", async () => {
  proxy.stall();
  const listener = watch();
  const started = rejection(listener.start());
  await eventually(() => proxy.accepted === 1);
  const before = Date.now();
  await listener.stop();
  assert.ok(Date.now() - before < 500);
  assert.is((await started).code, "unavailable");
});

test("a wrong password and a missing database are not tried for ever", async () => {
  const password = new URL(proxy.through(db.url));
  password.password = "wrong";
  const missing = new URL(proxy.through(db.url));
  missing.pathname = "/no_such_database";
  for (const url of [missing.href, password.href, "postgres://[nonsense"]) {
    const listener = watch({ url });
    const error = await rejection(listener.start());
    assert.is(error.code, "configuration");
    assert.match(error.message, "DATABASE_URL");
    assert.not.match(error.message, "wrong@");
    assert.not(listener.up);
  }
  assert.ok(proxy.accepted <= 2);
});

test("a missing database is waited for when LISTEN had been up before", async () => {
  const other = await database({ migrate: false });
  const listener = watch({ url: other.url });
  await listener.start();
  await other.drop();
  await eventually(() => listener.errors.filter(({ message }) => message.includes("does not exist")).length >= 2);
  assert.equal(listener.log, ["up", "down"]);
});

test("stop() during a reconnect ends the tries and leaves no timer", async () => {
  const before = timers();
  const listener = watch();
  await listener.start();
  proxy.refuse(true);
  proxy.cut();
  await eventually(() => listener.errors.length >= 2);
  await listener.stop();
  const { accepted } = proxy;
  assert.is(timers(), before);
  proxy.refuse(false);
  await delay(600);
  assert.is(proxy.accepted, accepted);
  assert.equal(listener.log, ["up", "down"]);
});

test("stop() while up closes the connection at the server, tells nobody, and leaves no timer", async () => {
  const before = timers();
  const listener = watch();
  await listener.start();
  const sql = listener.sql as Sql;
  await Promise.all([listener.stop(), listener.stop()]);
  await eventually(async () => (await backends()).length === 0);
  assert.is(timers(), before);
  assert.equal(listener.log, ["up"]);
  assert.not(listener.up);
  await eventually(() =>
    sql`select 1`.then(
      () => false,
      () => true,
    ),
  );
});

test("stop() on a half-open connection does not wait for an answer and leaves no socket", async () => {
  const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
  const listener = watch({ beatMs: 60_000 });
  const before = sockets();
  await listener.start();
  proxy.stall();
  const began = Date.now();
  await listener.stop();
  assert.ok(Date.now() - began < 1_500);
  // Those of the proxy, one to each side, are all that is left.
  await eventually(() => sockets() === before + 2);
});

test("a query on a lost connection rejects and opens no second one", async () => {
  let late: Promise<unknown> | undefined;
  const listener = watch({
    onDown: () => {
      late = rejectionText(old`select 1`);
    },
  });
  await listener.start();
  const old = listener.sql!;
  await terminate();
  await eventually(() => listener.up && late !== undefined);
  assert.match(String(await late), /connection|CONNECTION/);
  assert.is(proxy.peak, 1);
  assert.is(proxy.accepted, 2);
});

test("stop() before start() is fine, and start() then rejects", async () => {
  const listener = watch();
  await listener.stop();
  assert.is((await rejection(listener.start())).code, "unavailable");
  assert.is(proxy.accepted, 0);
});

test.run();
