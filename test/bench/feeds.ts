/**
 * What carries entries between instances (FEED): two instances on a database for each feed, one of them holding a tenth
 * of the users. The rate of commits by 1, 8 and 32 writers, the latency at a fixed rate, and what the instance with the
 * tenth spends meanwhile. The feeds take turns; medians over the rounds.
 */
import { ENGINE_PACKAGES, type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import type { Bench, Tidings } from "./bench.ts";
import type { LoadHandlers } from "./load_process.ts";
import { median, percentile, table } from "./numbers.ts";
import type { Child } from "./rpc.ts";

const WRITERS = [1, 8, 32] as const;
const RATE = 500;
const QUIET_MS = 10_000;

interface Feed {
  readonly name: string;
  /** Holds a tenth of the users. */
  readonly small: Tidings;
  readonly load: Child<LoadHandlers>;
  readonly users: number;
  /** By the row of the table, one number a round. */
  readonly found: Map<string, number[]>;
  next: number;
  lost: number;
  doubled: number;
}

const ENGINES: readonly EngineName[] = ["redis", "nats"];

export async function run(bench: Bench): Promise<string> {
  const users = bench.size(1_000, 200, 20);
  const rounds = bench.size(5, 2, 1);
  const feeds = [await start(bench, "notify", users), await start(bench, "wal", users)];
  const here = ENGINES.filter((name) => engineProgram(name) !== undefined);
  for (const name of here) feeds.push(await start(bench, name, users));
  for (let round = 0; round < rounds; round++) {
    bench.say(`feeds: round ${round + 1} of ${rounds}`);
    for (const feed of feeds) await play(bench, feed);
  }
  if (feeds.some(({ lost, doubled }) => lost + doubled > 0)) process.exitCode = 1;
  const missing = ENGINES.filter((name) => !here.includes(name)).map(
    (name) => `${ENGINE_PACKAGES[name]} is not installed.`,
  );
  return report(feeds, users, rounds, missing);
}

async function start(bench: Bench, name: string, users: number): Promise<Feed> {
  const bus = ENGINES.find((one) => one === name);
  const database = await bench.database();
  const env: Record<string, string> = bus ? { FEED: "bus", BUS_URL: await started(bench, bus) } : { FEED: name };
  // the first takes every office: relay of the doorbell, of the bus
  const big = await bench.tidings(database, `${name}, nine tenths`, undefined, env);
  const small = await bench.tidings(database, name, undefined, env);
  const load = bench.load();
  const all = Array.from({ length: users }, (_, at) => at + 1);
  const tenth = users / 10;
  await load.call("open", { group: "small", targets: await small.targets(all.slice(0, tenth)), kind: "ws" });
  await load.call("open", { group: "big", targets: await big.targets(all.slice(tenth)), kind: "ws" });
  const feed: Feed = { name, small, load, users, found: new Map(), next: 1, lost: 0, doubled: 0 };
  await write(feed, { rate: 0, seconds: bench.size(2, 1, 0.1), connections: 8 });
  return feed;
}

async function started(bench: Bench, name: EngineName): Promise<string> {
  const one = await engine(name);
  bench.undo(() => one.stop("SIGKILL"));
  return one.url;
}

interface Pace {
  /** Rows per second; 0: as fast as they can. */
  readonly rate: number;
  readonly seconds: number;
  readonly connections: number;
}

async function write(feed: Feed, pace: Pace): Promise<{ commits: number; ms: number[] }> {
  const { small, load, users, next: from } = feed;
  await load.call("expect", { from, most: 200_000, users });
  const { sent, committed } = await small.write({ users, from, ...pace });
  feed.next += sent.length;
  const { at, lost, doubled } = await load.call("arrivals", { count: sent.length, quietMs: QUIET_MS });
  feed.lost += lost;
  feed.doubled += doubled;
  const base = committed.length > 0 ? committed : sent;
  const ms = [...at].map((time, n) => time - base[n]!).filter((each) => !Number.isNaN(each));
  return { commits: (sent.length * 1_000) / (sent.at(-1)! - sent[0]!), ms };
}

async function play(bench: Bench, feed: Feed): Promise<void> {
  const note = (row: string, value: number): void => void feed.found.set(row, [...(feed.found.get(row) ?? []), value]);
  const measured = async (pace: Pace): ReturnType<typeof write> => {
    const [cpu, postgres, from] = [await feed.small.probe.cpu(), bench.postgresCpu(), feed.next];
    const result = await write(feed, pace);
    const each = (ms: number): number => (ms * 1_000) / (feed.next - from);
    const when = pace.rate > 0 ? `at ${pace.rate}/s` : `${pace.connections} writers`;
    note(
      `CPU of the instance with a tenth of the users, µs per row, ${when}`,
      each((await feed.small.probe.cpu()) - cpu),
    );
    note(`CPU of Postgres, µs per row, ${when}`, each(bench.postgresCpu() - postgres));
    return result;
  };
  const steady = await measured({ rate: RATE, seconds: bench.size(3, 1, 0.1), connections: 8 });
  note(`commit to client at ${RATE}/s, p50, ms`, percentile(steady.ms, 0.5));
  note(`commit to client at ${RATE}/s, p99, ms`, percentile(steady.ms, 0.99));
  for (const connections of WRITERS) {
    const { commits, ms } = await measured({ rate: 0, seconds: bench.size(2, 1, 0.1), connections });
    note(`commits per second, ${connections} writers`, commits);
    note(`commit to client then, p50, ms, ${connections} writers`, percentile(ms, 0.5));
  }
}

function report(feeds: readonly Feed[], users: number, rounds: number, missing: readonly string[]): string {
  const [notify, ...others] = feeds as [Feed, ...Feed[]];
  const rows = [...notify.found.keys()];
  const middle = (feed: Feed, row: string): number => median(feed.found.get(row)!);
  const names = (list: readonly Feed[]): string[] => list.map(({ name }) => name);
  const lost = (feed: Feed): string => `${feed.lost} / ${feed.doubled} of ${feed.next - 1}`;
  return `Two instances and ${users} users with a socket each, a tenth of them on the second instance, ${rounds} interleaved rounds, medians. redis and nats are FEED=bus, the relay on the first instance and fed by the WAL. ${missing.join(" ")}

${table(
  ["ratio to notify", ...names(others)],
  rows.map((row) => [row, ...others.map((feed) => middle(feed, row) / middle(notify, row))]),
)}

${table(
  ["absolute", ...names(feeds)],
  [...rows.map((row) => [row, ...feeds.map((feed) => middle(feed, row))]), ["lost / doubled", ...feeds.map(lost)]],
)}`;
}
