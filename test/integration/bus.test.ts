// @timeout 60
/**
 * The message bus on real engines: who hears what, in which order, and how outages, restarts, frozen engines,
 * crowds and big messages end. One suite for all engines. BUS_SEED repeats what is left to chance.
 */
import { connect } from "node:net";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TidingsError } from "../../src/errors.ts";
import { type RecordedBus, recordedBus, startedBus, stopBuses } from "../helpers/bus.ts";
import { ENGINE_PACKAGES, type Engine, type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";
import { proxyTo } from "../helpers/proxy.ts";
import { random } from "../model/random.ts";

const CROWD = 5_000;
const MESSAGES = 20_000;
const LIMIT = 1_048_576;
/** For tests of silence. The others have no use for it: on a busy machine an engine may take its time. */
const QUICK = { beatMs: 300, beatTimeoutMs: 700 };
/** Any text may be a user's id. Some of these would be one name, or a pattern, to a careless encoding. */
const ODD = [
  ...[
    "user_42",
    "USER_42",
    "user_a b",
    "user_a.b",
    "user_a*",
    "user_*",
    "user_>",
    "user_a.>",
    "user_",
    "user_\0\r\n\t",
  ],
  ...[
    "user_%2E",
    "user_.",
    "user_a%20b",
    "user_ä",
    "user_a\u0308",
    "user_日本",
    "user_😀{x}",
    "user_a:b",
    "user_\ud800",
  ],
  ...[`user_${"x".repeat(255)}`, `user_${"😀".repeat(127)}.`, "room_7", "room_7.8"],
];

/** What a promise is rejected with. */
const rejection = async (promise: Promise<unknown>): Promise<TidingsError> =>
  promise.then(
    () => assert.unreachable("it should have been rejected"),
    (error) => error,
  );
const texts = (group: string, ...numbers: number[]) => numbers.map((n) => ({ group, text: `${group} ${n}` }));
/** Sockets and timers of this process that keep it alive. */
const sockets = (): number => process.getActiveResourcesInfo().filter((name) => /^TCP|Timeout/.test(name)).length;

/** What a client that sends this line is answered, until `until` is in it. */
function ask(port: number, line: string, until: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write(line));
    let said = "";
    socket.setEncoding("utf8").on("error", reject);
    socket.on("data", (text: string) => {
      said += text;
      if (until.test(said)) resolve(said);
      if (until.test(said)) socket.destroy();
    });
  });
}

function busSuite(name: EngineName): void {
  const real = suite(`the bus on ${name}`);
  const isHere = engineProgram(name) !== undefined;
  const test: (title: string, run: () => Promise<void>) => void = isHere ? real : (title) => real.skip(title, () => {});
  if (!isHere) console.log(`the bus on ${name}: skipped, apt-get install ${ENGINE_PACKAGES[name]}`);
  let server: Engine;

  real.before(async () => {
    if (isHere) server = await engine(name);
  });
  real.after.each(stopBuses);
  real.after(async () => server?.stop());

  /** Publishes one more and waits for it: whatever was published before has arrived by then, or never will. */
  async function settle(from: RecordedBus, ...to: RecordedBus[]): Promise<void> {
    await Promise.all(to.map((bus) => bus.subscribe("settle")));
    await from.publish([{ group: "settle", text: "settled" }]);
    await eventually(() => to.every(({ messages }) => messages.at(-1) === "settled"));
    for (const { messages } of to) messages.pop();
  }

  test("those who subscribed hear a group's messages in order, and others do not", async () => {
    const [one, two, other] = await Promise.all([1, 2, 3].map(() => startedBus(server.url)));
    await Promise.all([one!.subscribe("user_1"), two!.subscribe("user_1"), other!.subscribe("user_10")]);
    assert.equal(await other!.publish(texts("user_1", 1, 2, 3)), []);
    await Promise.all([other!.publish(texts("user_1", 4)), other!.publish(texts("user_1", 5))]);
    await settle(other!, one!, two!, other!);
    for (const { messages } of [one!, two!])
      assert.equal(
        messages,
        texts("user_1", 1, 2, 3, 4, 5).map((m) => m.text),
      );
    assert.equal(other!.messages, []);
  });

  test("subscribing twice is once, and what was unsubscribed in the meantime is as it was last said", async () => {
    const bus = await startedBus(server.url);
    await Promise.all([bus.subscribe("a"), bus.subscribe("a"), bus.subscribe("b")]);
    await bus.subscribe("a");
    bus.unsubscribe("b");
    bus.unsubscribe("b");
    bus.unsubscribe("never");
    bus.unsubscribe("a");
    await bus.subscribe("a");
    const gone = bus.subscribe("c");
    bus.unsubscribe("c");
    await gone;
    await bus.subscribe("d");
    bus.unsubscribe("d");
    await new Promise((resolve) => setImmediate(resolve));
    await bus.subscribe("d");
    await bus.publish(["a", "b", "c", "d"].map((group) => ({ group, text: group })));
    await settle(bus, bus);
    assert.equal(bus.messages, ["a", "d"]);
  });

  test("deployments with different prefixes do not hear each other", async () => {
    const prefixes = ["a", "a.b", "A", "a-b", "a_b"];
    const buses = await Promise.all(prefixes.map((prefix) => startedBus(server.url, { prefix })));
    await Promise.all(buses.map((bus) => bus.subscribe("b.c")));
    for (const [at, bus] of buses.entries()) await bus.publish([{ group: "b.c", text: prefixes[at]! }]);
    await Promise.all(buses.map((bus) => settle(bus, bus)));
    for (const [at, bus] of buses.entries()) assert.equal(bus.messages, [prefixes[at]!]);
  });

  test("a user's id may be any text, and no two are taken for one", async () => {
    const [all, each] = [await startedBus(server.url), await startedBus(server.url)];
    await Promise.all(ODD.map((group) => all.subscribe(group)));
    await all.publish(ODD.map((group, n) => ({ group, text: String(n) })));
    await settle(all, all);
    assert.equal(
      all.messages,
      ODD.map((_, n) => String(n)),
    );
    for (const [n, group] of ODD.entries()) {
      await each.subscribe(group);
      await all.publish(ODD.map((group, n) => ({ group, text: String(n) })));
      await settle(all, each);
      assert.equal(each.messages.splice(0), [String(n)], JSON.stringify(group));
      each.unsubscribe(group);
    }
  });

  test("a lost connection is made anew, with every subscription there before onUp", async () => {
    const proxy = await proxyTo(server.port);
    const other = await startedBus(server.url);
    const onUp = (): void => void other.publish([{ group: "user_4999", text: "at once" }]);
    const bus = await startedBus(proxy.through(server.url), { onUp });
    await Promise.all(Array.from({ length: CROWD }, (_, n) => bus.subscribe(`user_${n}`)));
    bus.messages.length = 0;
    proxy.cut();
    await eventually(() => bus.messages.length > 0);
    assert.equal(bus.messages, ["at once"]);
    assert.equal(bus.states, ["up", "down", "up"]);
    await bus.stop();
    await proxy.close();
  });

  test("the engine killed: one onDown, refusals meanwhile, and what was wanted last is there afterwards", async () => {
    const [bus, other] = [await startedBus(server.url), await startedBus(server.url)];
    await Promise.all([bus.subscribe("kept"), bus.subscribe("dropped")]);
    await server.stop("SIGKILL");
    await eventually(() => !bus.up && !other.up);
    assert.is((await rejection(bus.subscribe("added"))).code, "unavailable");
    assert.is((await rejection(bus.publish(texts("kept", 1)))).code, "unavailable");
    // Nobody looks at this one.
    void bus.subscribe("added");
    bus.unsubscribe("dropped");
    await server.start();
    await eventually(() => bus.up && other.up);
    await other.publish(["kept", "dropped", "added"].map((group) => ({ group, text: group })));
    await settle(other, bus);
    assert.equal(bus.messages, ["kept", "added"]);
    assert.equal(bus.states, ["up", "down", "up"]);
  });

  test("a frozen engine is noticed within the time of a beat, whatever waits for it is rejected, and it heals", async () => {
    const bus = await startedBus(server.url, QUICK);
    await bus.subscribe("kept");
    try {
      await server.freeze();
      const from = performance.now();
      const waiting = [rejection(bus.publish(texts("kept", 1))), rejection(bus.subscribe("added"))];
      for (const { code } of await Promise.all(waiting)) assert.is(code, "unavailable");
      const ms = performance.now() - from;
      assert.ok(ms < 5_000, `noticed after ${ms} ms`);
      assert.is(bus.up, false);
      // More than one attempt meets the frozen engine.
      await eventually(() => bus.errors.length > 1);
    } finally {
      server.thaw();
    }
    await eventually(() => bus.up);
    await bus.publish([...texts("kept", 2), ...texts("added", 2)]);
    await settle(bus, bus);
    // What an engine took before it froze it may still deliver to a new subscription.
    assert.equal(
      bus.messages.filter((text) => text !== "kept 1"),
      ["kept 2", "added 2"],
    );
    assert.equal(bus.states, ["up", "down", "up"]);
  });

  test("stopped while the engine is frozen, it leaves nothing behind", async () => {
    await eventually(() => sockets() === 0);
    const bus = await startedBus(server.url, QUICK);
    await server.freeze();
    await eventually(() => bus.errors.length > 0);
    const fresh = recordedBus(server.url);
    const refused = rejection(fresh.start());
    await new Promise((resolve) => setImmediate(resolve));
    const from = performance.now();
    await Promise.all([bus.stop(), fresh.stop()]);
    const ms = performance.now() - from;
    server.thaw();
    assert.ok(ms < 1_000, `stopped after ${ms} ms`);
    assert.is((await refused).code, "unavailable");
    await eventually(() => assert.is(sockets(), 0));
  });

  test("started while the engine is away, it tells so once and comes up with it", async () => {
    await server.stop();
    const bus = recordedBus(server.url);
    const started = bus.start();
    void bus.subscribe("early");
    await eventually(() => bus.errors.length > 2);
    assert.equal(bus.states, ["down"]);
    await server.start();
    await started;
    await bus.publish(texts("early", 1));
    await settle(bus, bus);
    assert.equal(bus.messages, ["early 1"]);
    assert.equal(bus.states, ["down", "up"]);
  });

  test("5,000 subscriptions at once are a few commands, and 20,000 messages arrive in order", async () => {
    const [bus, other] = [await startedBus(server.url), await startedBus(server.url)];
    if (name === "redis") await ask(server.port, "CONFIG RESETSTAT\r\n", /OK/);
    await Promise.all(Array.from({ length: CROWD }, (_, n) => bus.subscribe(`user_${n}`)));
    if (name === "redis") {
      const stats = await ask(server.port, "INFO commandstats\r\n", /\r\n\r\n/);
      const [, calls] = /cmdstat_ssubscribe:calls=(\d+)/.exec(stats) ?? [];
      assert.ok(Number(calls) <= CROWD / 500, `${calls} commands`);
    }
    const messages = Array.from({ length: MESSAGES }, (_, n) => ({
      group: `user_${(n * 7) % CROWD}`,
      text: String(n),
    }));
    assert.equal(await other.publish(messages), []);
    await eventually(() => bus.messages.length === MESSAGES);
    assert.equal(
      bus.messages,
      messages.map(({ text }) => text),
    );
    for (let n = 0; n < CROWD; n++) bus.unsubscribe(`user_${n}`);
    await settle(other, bus);
    await other.publish(messages);
    await settle(other, bus);
    assert.is(bus.messages.length, MESSAGES);
  });

  test("what is too big for the engine is handed back, the others arrive, and the connection stays", async () => {
    const bus = await startedBus(server.url);
    await bus.subscribe("user_1");
    const fits = ["1", "x".repeat(LIMIT), "ä".repeat(LIMIT / 2), "2"];
    const tooBig = ["x".repeat(LIMIT + 1), "ä".repeat(LIMIT / 2 + 1)];
    const messages = [fits[0]!, tooBig[0]!, fits[1]!, fits[2]!, tooBig[1]!, fits[3]!].map((text) => ({
      group: "user_1",
      text,
    }));
    const back = await bus.publish(messages);
    assert.equal(
      back.map(({ text }) => text.length),
      tooBig.map(({ length }) => length),
    );
    await settle(bus, bus);
    assert.is(bus.messages.length, fits.length);
    assert.ok(bus.messages.every((text, n) => text === fits[n]));
    assert.equal(bus.states, ["up"]);
  });

  test("whatever comes and goes, and whenever the connection is lost, in the end what is wanted is what is heard", async () => {
    const seed = Number(process.env.BUS_SEED) || Date.now() & 0xffffff;
    const { next: chance, between } = random(seed);
    const proxy = await proxyTo(server.port);
    const other = await startedBus(server.url);
    const bus = await startedBus(proxy.through(server.url));
    const wanted = new Set<string>();
    for (let step = 0; step < 5_000; step++) {
      const group = `user_${between(0, 9)}`;
      const isWanted = chance() < 0.5;
      if (isWanted) {
        wanted.add(group);
        void bus.subscribe(group);
      } else {
        wanted.delete(group);
        bus.unsubscribe(group);
      }
      if (chance() < 0.3) await new Promise((resolve) => setImmediate(resolve));
      if (chance() < 0.002) proxy.cut();
      if (chance() < 0.002) await eventually(() => bus.up);
    }
    // A cut may not have been noticed yet.
    await eventually(async () => bus.subscribe("settle"));
    await settle(other, bus);
    const groups = Array.from({ length: 10 }, (_, n) => `user_${n}`);
    await other.publish(groups.map((group) => ({ group, text: group })));
    await settle(other, bus);
    assert.equal(
      bus.messages,
      groups.filter((group) => wanted.has(group)),
      `BUS_SEED=${seed}`,
    );
    await bus.stop();
    await proxy.close();
  });

  test("a callback that throws is told of, and harms nobody", async () => {
    const onMessage = (): never => {
      throw new Error("thrown by onMessage");
    };
    const bus = await startedBus(server.url, { onMessage });
    await bus.subscribe("user_1");
    await bus.publish(texts("user_1", 1, 2));
    await eventually(() => bus.messages.length === 2);
    assert.equal(
      bus.errors.map(({ message }) => message),
      ["thrown by onMessage", "thrown by onMessage"],
    );
    assert.equal(bus.states, ["up"]);
  });

  test("stop is idempotent, ends everything, and nothing begins after it", async () => {
    await eventually(() => sockets() === 0);
    const bus = await startedBus(server.url);
    await bus.subscribe("user_1");
    const waiting = [rejection(bus.subscribe("user_2")), rejection(bus.publish(texts("user_1", 1)))];
    await Promise.all([bus.stop(), bus.stop()]);
    for (const { code } of await Promise.all(waiting)) assert.is(code, "unavailable");
    await bus.stop();
    assert.is(bus.up, false);
    for (const promise of [bus.subscribe("user_3"), bus.publish([])]) {
      assert.is((await rejection(promise)).code, "unavailable");
    }
    const never = recordedBus(server.url);
    await never.stop();
    assert.is((await rejection(never.start())).code, "unavailable");
    assert.equal([bus.states, never.states], [["up"], []]);
    await eventually(() => assert.is(sockets(), 0));
  });

  real.run();
}

for (const name of ["redis", "nats"] as const) busSuite(name);
