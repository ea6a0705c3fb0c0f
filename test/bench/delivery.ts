/**
 * Rows of many users, each to its one socket: first at a fixed rate, which shows latency, then as fast as eight writers
 * can, which shows the ceiling of the whole chain. The contenders take turns; medians over the rounds.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bench, Server } from "./bench.ts";
import type { LoadHandlers } from "./load_process.ts";
import { clock, median, percentile, table } from "./numbers.ts";
import type { Child } from "./rpc.ts";
import type { WriterHandlers, Written } from "./writer_process.ts";

interface Round {
  /** Milliseconds, at the fixed rate. */
  readonly p50: number;
  readonly p99: number;
  /** From the writer's sending to the client, at the fixed rate. */
  readonly insertP50: number;
  readonly insertP99: number;
  /** Rows per second from the first insert to the last frame, writing as fast as possible. */
  readonly rate: number;
  /** CPU microseconds of the server process per row, writing as fast as possible. */
  readonly cpu: number;
  readonly peakP50: number;
}

interface Contender {
  readonly server: Server;
  readonly load: Child<LoadHandlers>;
  readonly rounds: Round[];
  next: number;
  lost: number;
  doubled: number;
  astray: number;
}

const RATE = 500;
const TIMEOUT_MS = 10_000;

export async function run(bench: Bench): Promise<string> {
  const { quick, against } = bench;
  const users = quick ? 200 : 1_000;
  const rounds = quick ? 2 : 5;
  const load = bench.load();
  const writer = bench.writer();
  const servers: Server[] = [await bench.floor(await bench.database()), await bench.tidings(await bench.database())];
  if (against) servers.push(await bench.tidings(await bench.database(), "against", against));
  const contenders: Contender[] = [];
  for (const server of servers) {
    const targets = await server.targets(Array.from({ length: users }, (_, at) => at + 1));
    await load.call("open", { group: server.name, targets, kind: server.name === "floor" ? "bare" : "ws" });
    contenders.push({ server, load, rounds: [], next: 1, lost: 0, doubled: 0, astray: 0 });
  }
  // Warm: code compiled, plans cached, relay elected. Lost rows count here too.
  for (const one of contenders) await phase(one, writer, users, 0, 2);
  for (let round = 0; round < rounds; round++) {
    for (const one of contenders) one.rounds.push(await play(bench, one, writer, users));
  }
  return report(contenders, users, rounds);
}

async function play(bench: Bench, one: Contender, writer: Child<WriterHandlers>, users: number): Promise<Round> {
  const steady = await phase(one, writer, users, RATE, bench.quick ? 1 : 2);
  const cpu = await one.server.probe.cpu();
  const saturate = () => phase(one, writer, users, 0, bench.quick ? 1 : 1.5);
  let peak: Phase;
  if (bench.profiles) {
    const { result, profile } = await one.server.probe.profile(saturate);
    writeFileSync(join(bench.profiles, `${one.server.name}-${one.rounds.length}.cpuprofile`), profile);
    peak = result;
  } else peak = await saturate();
  const spent = (await one.server.probe.cpu()) - cpu;
  const base = steady.written.committed.length > 0 ? steady.written.committed : steady.written.sent;
  const peakBase = peak.written.committed.length > 0 ? peak.written.committed : peak.written.sent;
  return {
    p50: percentile(between(base, steady.at), 0.5),
    p99: percentile(between(base, steady.at), 0.99),
    insertP50: percentile(between(steady.written.sent, steady.at), 0.5),
    insertP99: percentile(between(steady.written.sent, steady.at), 0.99),
    rate: (peak.written.sent.length * 1_000) / (peak.last - peak.written.sent[0]!),
    cpu: (spent * 1_000) / peak.written.sent.length,
    peakP50: percentile(between(peakBase, peak.at), 0.5),
  };
}

interface Phase {
  readonly written: Written;
  readonly at: Float64Array;
  readonly last: number;
}

async function phase(
  one: Contender,
  writer: Child<WriterHandlers>,
  users: number,
  rate: number,
  seconds: number,
): Promise<Phase> {
  const { server, load, next: from } = one;
  await load.call("expect", { from, most: 200_000, users });
  const written = await writer.call("write", { url: server.database.url, table: "source", users, from, seconds, rate });
  const count = written.sent.length;
  one.next += count;
  const arrivals = await load.call("arrivals", { count, timeoutMs: TIMEOUT_MS });
  one.lost += arrivals.lost;
  one.doubled += arrivals.doubled;
  one.astray += arrivals.astray;
  if (arrivals.lost + arrivals.doubled + arrivals.astray > 0) process.exitCode = 1;
  return { written, at: arrivals.at, last: arrivals.at.reduce((a, b) => (b > a ? b : a), 0) || clock() };
}

function between(from: Float64Array, to: Float64Array): Float64Array {
  return to.map((at, n) => at - from[n]!).filter((ms) => !Number.isNaN(ms));
}

function report(contenders: readonly Contender[], users: number, rounds: number): string {
  const of = (one: Contender, key: keyof Round): number => median(one.rounds.map((round) => round[key]));
  const [floor, ...others] = contenders as [Contender, ...Contender[]];
  const ratio = (one: Contender, key: keyof Round): number => of(one, key) / of(floor, key);
  const name = (one: Contender): string => one.server.name;
  const commit = "commit to client";
  const rows = (
    value: (one: Contender, key: keyof Round) => number,
    list: readonly Contender[],
  ): (string | number)[][] => [
    [`${commit} p50 at ${RATE}/s, ms`, ...list.map((one) => value(one, "p50"))],
    [`${commit} p99 at ${RATE}/s, ms`, ...list.map((one) => value(one, "p99"))],
    [`insert to client p50 at ${RATE}/s, ms`, ...list.map((one) => value(one, "insertP50"))],
    [`insert to client p99 at ${RATE}/s, ms`, ...list.map((one) => value(one, "insertP99"))],
    ["rows per second, 8 writers", ...list.map((one) => value(one, "rate"))],
    [`${commit} p50 then, ms`, ...list.map((one) => value(one, "peakP50"))],
    ["server CPU per row then, µs", ...list.map((one) => value(one, "cpu"))],
  ];
  return `${users} users with a socket each, ${rounds} interleaved rounds, medians. The floor is a row trigger with pg_notify, one LISTEN, raw ws, nothing stored.

${table(["ratio to the floor", ...others.map(name)], rows(ratio, others))}

${table(
  ["absolute", ...contenders.map(name)],
  [
    ...rows(of, contenders),
    ["rows", ...contenders.map((one) => one.next - 1)],
    ["lost / doubled / astray", ...contenders.map((one) => `${one.lost} / ${one.doubled} / ${one.astray}`)],
  ],
)}`;
}
