/**
 * What carries entries between instances (FEED): two instances on a database for each feed, one of them holding a tenth
 * of the users. The rate of commits by 1, 8 and 32 writers, the latency at a fixed rate and at twice what NOTIFY by hand
 * carries, and what the instance with the tenth spends meanwhile. The feeds take turns; medians over the rounds.
 */
import { ENGINE_PACKAGES, engineProgram } from "../helpers/engine.ts";
import type { Bench } from "./bench.ts";
import { ENGINES, type Feed, startFeeds } from "./feed_contenders.ts";
import { median, percentile, table } from "./numbers.ts";
import { pgbench, pgbenchMissing } from "./pgbench.ts";
import type { Rows } from "./writer_process.ts";

const RATE = 500;
const perSecond = (writers: number): string => `commits per second, ${writers} writers`;
/** The row of the most that is written. */
const MOST = perSecond(32);
const QUIET_MS = 10_000;

/** A feed on its way through the rounds. */
interface Player extends Feed {
  readonly users: number;
  /** Many writers, at full speed where no rate is given; resolves with the times of the commits. */
  crowd(rows: Rows): Promise<Float64Array>;
  /** By the row of the table, one number a round. */
  readonly found: Map<string, number[]>;
  next: number;
  lost: number;
  doubled: number;
  astray: number;
}

export async function run(bench: Bench): Promise<string> {
  const users = bench.size(1_000, 200, 20);
  const rounds = bench.size(5, 2, 1);
  const feeds = await startFeeds(bench, users);
  const unfit = await pgbenchMissing(feeds[0]!.database.sql);
  const players = feeds.map((feed): Player => {
    const crowd: Player["crowd"] = (rows) => (unfit ? byNode(feed, rows) : pgbench(bench, feed.database, rows));
    return { ...feed, users, crowd, found: new Map(), next: 1, lost: 0, doubled: 0, astray: 0 };
  });
  for (const one of players) await write(one, { rate: 0, seconds: bench.size(2, 1, 0.1), connections: 8 });
  for (let round = 0; round < rounds; round++) {
    bench.say(`feeds: round ${round + 1} of ${rounds}`);
    let byHand = 0;
    for (const one of players) {
      await play(bench, one, byHand);
      byHand ||= one.found.get(MOST)!.at(-1)!;
    }
  }
  if (players.some(({ lost, doubled, astray }) => lost + doubled + astray > 0)) process.exitCode = 1;
  const notes = [
    `Flat out, ${unfit ? `the writers are one Node process, since ${unfit}` : "the writers are pgbench"}.`,
    ...ENGINES.filter((name) => !engineProgram(name)).map((name) => `${ENGINE_PACKAGES[name]} is not installed.`),
  ];
  return `Two instances and ${users} users with a socket each, a tenth of them on the second instance, ${rounds} interleaved rounds, medians. plain is NOTIFY by every writer in its own transaction, without the doorbell; redis and nats are FEED=bus, the relay on the first instance and fed by the WAL; silent announces nothing to nobody, which is the most that a feed could gain. ${notes.join(" ")}

${report(players)}`;
}

/** Resolves with the times of the commits, or of the sending where Postgres keeps none. */
async function byNode({ server }: Feed, rows: Rows): Promise<Float64Array> {
  const { sent, committed } = await server.write(rows);
  return committed.length > 0 ? committed : sent;
}

/** `even`: at equal distances, by few writers. */
interface Pace extends Pick<Rows, "rate" | "seconds" | "connections"> {
  readonly even?: boolean;
}

async function write(one: Player, { even, ...pace }: Pace): Promise<{ commits: number; ms: number[] }> {
  const { load, users, next: from } = one;
  const rows = { users, from, ...pace };
  await load?.call("expect", { from, most: 200_000, users });
  const times = even ? await byNode(one, rows) : await one.crowd(rows);
  one.next += times.length;
  const arrivals = await load?.call("arrivals", { count: times.length, quietMs: QUIET_MS });
  one.lost += arrivals?.lost ?? 0;
  one.doubled += arrivals?.doubled ?? 0;
  one.astray += arrivals?.astray ?? 0;
  const ms = [...(arrivals?.at ?? [])].map((at, n) => at - times[n]!).filter((each) => !Number.isNaN(each));
  return { commits: (times.length * 1_000) / (percentile(times, 1) - percentile(times, 0)), ms };
}

/** @param byHand what 32 writers commit a second where each says NOTIFY itself; 0 while that is not known */
async function play(bench: Bench, one: Player, byHand: number): Promise<void> {
  const note = (row: string, value: number): void => void one.found.set(row, [...(one.found.get(row) ?? []), value]);
  const measured = async ({ even, ...pace }: Pace): ReturnType<typeof write> => {
    const [cpu, postgres, from] = [await one.server.probe.cpu(), bench.postgresCpu(), one.next];
    const result = await write(one, { even, ...pace });
    const each = (ms: number): number => (ms * 1_000) / (one.next - from);
    const when = even ? `at ${pace.rate}/s` : `${pace.connections} writers`;
    const spent = each((await one.server.probe.cpu()) - cpu);
    if (one.load) note(`CPU of the instance with a tenth of the users, µs per row, ${when}`, spent);
    note(`CPU of Postgres, µs per row, ${when}`, each(bench.postgresCpu() - postgres));
    return result;
  };
  if (one.load) {
    const steady = await measured({ even: true, rate: RATE, seconds: bench.size(3, 1, 0.1), connections: 8 });
    note(`commit to client at ${RATE}/s, p50, ms`, percentile(steady.ms, 0.5));
    note(`commit to client at ${RATE}/s, p99, ms`, percentile(steady.ms, 0.99));
  }
  for (const connections of bench.tiny ? [32] : [1, 8, 32]) {
    const { commits, ms } = await measured({ rate: 0, seconds: bench.size(2, 1, 0.1), connections });
    note(perSecond(connections), commits);
    note(`commit to client then, p50, ms, ${connections} writers`, percentile(ms, 0.5));
  }
  if (!one.load || byHand === 0) return;
  const { commits, ms } = await write(one, { rate: 2 * byHand, seconds: bench.size(2, 1, 0.1), connections: 32 });
  note("commits per second, 32 writers held to twice what plain does", commits);
  note("commit to client then, p50, ms, held", percentile(ms, 0.5));
  note("commit to client then, p99, ms, held", percentile(ms, 0.99));
}

function report(players: readonly Player[]): string {
  const notify = players.find(({ name }) => name === "notify")!;
  const others = players.filter((one) => one !== notify);
  const rows = [...notify.found.keys()];
  const middle = (one: Player, row: string): number => median(one.found.get(row) ?? []);
  const names = (list: readonly Player[]): string[] => list.map(({ name }) => name);
  const lost = (one: Player): string =>
    one.load ? `${one.lost} / ${one.doubled} / ${one.astray} of ${one.next - 1}` : "–";
  const ratios = rows.map((row) => [row, ...others.map((one) => middle(one, row) / middle(notify, row))]);
  const absolute = rows.map((row) => [row, ...players.map((one) => middle(one, row))]);
  return `${table(["ratio to notify", ...names(others)], ratios)}

${table(["absolute", ...names(players)], [...absolute, ["lost / doubled / astray", ...players.map(lost)]])}`;
}
