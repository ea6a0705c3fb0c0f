/**
 * Rows of many users, each to its one socket: first at a fixed rate, which shows latency, then as fast as eight writers
 * can, which shows the ceiling of the whole chain. The contenders take turns; medians over the rounds.
 */
import type { Bench, Contender } from "./bench.ts";
import { byName, patience } from "./contender.ts";
import type { LoadHandlers } from "./load_process.ts";
import { clock, median, percentile, table } from "./numbers.ts";
import type { Child } from "./rpc.ts";
import type { Written } from "./writer_process.ts";

/** Of one contender in one round; times in milliseconds. */
export interface Round {
  /** From commit to client at the fixed rate. */
  readonly p50: number;
  readonly p99: number;
  /** From the writer's sending to the client, at the fixed rate. */
  readonly insertP50: number;
  readonly insertP99: number;
  /** Rows per second from the first insert to the last frame, writing as fast as possible. */
  readonly rate: number;
  readonly peakP50: number;
  /** CPU microseconds per delivered entry, writing as fast as possible: of the server with its broker, of Postgres. */
  readonly cpu: number;
  readonly postgres: number;
}

/** A contender on its way through the rounds. */
export interface Player {
  readonly server: Contender;
  readonly load: Child<LoadHandlers>;
  readonly users: number;
  readonly rounds: Round[];
  next: number;
  lost: number;
  doubled: number;
  astray: number;
}

export const RATE = 500;

export async function run(bench: Bench): Promise<string> {
  const users = bench.size(1_000, 200, 20);
  const rounds = bench.size(5, 2, 1);
  const players: Player[] = [];
  for (const server of await bench.contenders()) players.push(await enter(bench, server, users));
  for (let round = 0; round < rounds; round++) {
    bench.say(`delivery: round ${round + 1} of ${rounds}`);
    for (const one of players) one.rounds.push(await play(bench, one, round === rounds - 1));
  }
  figures(bench, players);
  return report(players, users, rounds);
}

/** Opens a socket for each user, and warms up: code compiled, plans cached, relay elected. Lost rows count here too. */
export async function enter(bench: Bench, server: Contender, users: number): Promise<Player> {
  const load = bench.load();
  const targets = await server.targets(Array.from({ length: users }, (_, at) => at + 1));
  await load.call("open", { group: server.name, targets, kind: server.kind });
  const one: Player = { server, load, users, rounds: [], next: 1, lost: 0, doubled: 0, astray: 0 };
  await phase(one, 0, bench.size(2, 1, 0.1));
  return one;
}

/** @param profiled whether this round may be measured under a profile */
export async function play(bench: Bench, one: Player, profiled: boolean): Promise<Round> {
  const { server } = one;
  const steady = await phase(one, RATE, bench.size(2, 1, 0.1));
  const saturate = (): Promise<Phase> => phase(one, 0, bench.size(1.5, 1, 0.1));
  const [cpu, postgres] = [await server.probe.cpu(), bench.postgresCpu()];
  const peak =
    profiled && server.kind === "ws"
      ? await bench.profiled(server, "rows as fast as eight writers can", saturate)
      : await saturate();
  const delivered = peak.at.filter((at) => !Number.isNaN(at)).length;
  const base = (of: Phase): Float64Array => (of.written.committed.length > 0 ? of.written.committed : of.written.sent);
  return {
    p50: percentile(between(base(steady), steady.at), 0.5),
    p99: percentile(between(base(steady), steady.at), 0.99),
    insertP50: percentile(between(steady.written.sent, steady.at), 0.5),
    insertP99: percentile(between(steady.written.sent, steady.at), 0.99),
    rate: (delivered * 1_000) / (peak.last - peak.written.sent[0]!),
    peakP50: percentile(between(base(peak), peak.at), 0.5),
    cpu: (((await server.probe.cpu()) - cpu) * 1_000) / delivered,
    postgres: ((bench.postgresCpu() - postgres) * 1_000) / delivered,
  };
}

interface Phase {
  readonly written: Written;
  readonly at: Float64Array;
  readonly last: number;
}

async function phase(one: Player, rate: number, seconds: number): Promise<Phase> {
  const { server, load, users, next: from } = one;
  await load.call("expect", { from, most: 200_000, users });
  const written = await server.write({ users, from, seconds, rate });
  const count = written.sent.length;
  one.next += count;
  const arrivals = await load.call("arrivals", { count, quietMs: patience(server) });
  one.lost += arrivals.lost;
  one.doubled += arrivals.doubled;
  one.astray += arrivals.astray;
  if (!server.rival && arrivals.lost + arrivals.doubled + arrivals.astray > 0) process.exitCode = 1;
  return { written, at: arrivals.at, last: arrivals.at.reduce((a, b) => (b > a ? b : a), 0) || clock() };
}

function between(from: Float64Array, to: Float64Array): Float64Array {
  return to.map((at, n) => at - from[n]!).filter((ms) => !Number.isNaN(ms));
}

const middle = (one: Player, key: keyof Round): number => median(one.rounds.map((round) => round[key]));

function figures(bench: Bench, players: readonly Player[]): void {
  const values = (key: keyof Round) => byName(players.map((one) => [one.server, middle(one, key)] as const));
  const p50 = [{ of: "floor", most: 1.25 }];
  bench.figure({ label: `commit to client at ${RATE}/s, p50, ms`, values: values("p50"), goals: p50 });
  const p99 = [{ of: "floor", most: 1.5 }];
  bench.figure({ label: `commit to client at ${RATE}/s, p99, ms`, values: values("p99"), goals: p99 });
  const rate = [
    { of: "floor", least: 0.85 },
    { of: "Channels", least: 3 },
  ];
  bench.figure({ label: "rows per second, 8 writers", values: values("rate"), goals: rate });
  bench.figure({ label: "server CPU per entry, µs", values: values("cpu") });
  bench.figure({ label: "Postgres CPU per entry, µs", values: values("postgres") });
  const lost = byName(players.map((one) => [one.server, `${one.lost} of ${one.next - 1}`] as const));
  bench.figure({ label: "lost at these rates", values: lost });
}

function report(players: readonly Player[], users: number, rounds: number): string {
  const [floor, ...others] = players as [Player, ...Player[]];
  const ratio = (one: Player, key: keyof Round): number => middle(one, key) / middle(floor, key);
  const name = (one: Player): string => one.server.name;
  const commit = "commit to client";
  const rows = (value: typeof middle, list: readonly Player[]): (string | number)[][] => [
    [`${commit} p50 at ${RATE}/s, ms`, ...list.map((one) => value(one, "p50"))],
    [`${commit} p99 at ${RATE}/s, ms`, ...list.map((one) => value(one, "p99"))],
    [`insert to client p50 at ${RATE}/s, ms`, ...list.map((one) => value(one, "insertP50"))],
    [`insert to client p99 at ${RATE}/s, ms`, ...list.map((one) => value(one, "insertP99"))],
    ["rows per second, 8 writers", ...list.map((one) => value(one, "rate"))],
    [`${commit} p50 then, ms`, ...list.map((one) => value(one, "peakP50"))],
    ["server CPU per entry then, µs", ...list.map((one) => value(one, "cpu"))],
    ["Postgres CPU per entry then, µs", ...list.map((one) => value(one, "postgres"))],
  ];
  return `${users} users with a socket each, ${rounds} interleaved rounds, medians. The floor is a row trigger with pg_notify, one LISTEN, raw ws, nothing stored. The rivals' writer publishes after its commit; a broker counts as server.

${table(["ratio to the floor", ...others.map(name)], rows(ratio, others))}

${table(
  ["absolute", ...players.map(name)],
  [
    ...rows(middle, players),
    ["rows", ...players.map((one) => one.next - 1)],
    ["lost / doubled / astray", ...players.map((one) => `${one.lost} / ${one.doubled} / ${one.astray}`)],
  ],
)}`;
}
