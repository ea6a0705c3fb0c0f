/** What publishing costs the writer: the same inserts bare, with the floor's and Tidings' trigger, and published by hand. */
import type { Bench, Server } from "./bench.ts";
import { median, table } from "./numbers.ts";
import type { Rows, Written } from "./writer_process.ts";

const USERS = 1_000;
const WIDTHS = [1, 8];

interface Contender {
  readonly name: string;
  /** Whose profile tells something. */
  readonly tidings: Server | null;
  readonly rates: Map<number, number[]>;
  readonly acks: Map<number, number[]>;
  next: number;
  write(rows: Rows): Promise<Written>;
}

export async function run(bench: Bench): Promise<string> {
  const bare = await bench.database();
  const plain = (rows: Rows) => bench.writer().call("write", { ...rows, url: bare.url, table: "source" });
  const enter = (name: string, write: Contender["write"], tidings: Server | null): Contender => {
    return { name, write, tidings, rates: new Map(), acks: new Map(), next: 1 };
  };
  const others = await bench.contenders();
  const contenders = [
    enter("bare insert", plain, null),
    ...others.map((one) => enter(one.name, one.write, one.kind === "ws" ? one : null)),
  ];
  const rounds = bench.size(3, 1, 1);
  const seconds = bench.size(1, 0.5, 0.05);
  for (let round = 0; round <= rounds; round++) {
    bench.say(`writer: round ${round} of ${rounds}`);
    for (const connections of WIDTHS) {
      for (const one of contenders) {
        const work = () => one.write({ users: USERS, from: one.next, seconds, rate: 0, connections });
        const profiled = one.tidings && round === rounds && connections > 1;
        const written = profiled ? bench.profiled(one.tidings, "eight writers, nobody connected", work) : work();
        const { sent, ackMs } = await written;
        one.next += sent.length;
        if (round === 0) continue; // warm
        one.rates.set(connections, [...(one.rates.get(connections) ?? []), sent.length / seconds]);
        one.acks.set(connections, [...(one.acks.get(connections) ?? []), ackMs]);
      }
    }
  }
  figures(bench, contenders);
  return report(contenders, rounds);
}

const rate = (one: Contender, width: number): number => median(one.rates.get(width)!);
const ack = (one: Contender, width: number): number => median(one.acks.get(width)!);

function figures(bench: Bench, contenders: readonly Contender[]): void {
  const [bare, ...others] = contenders as [Contender, ...Contender[]];
  for (const width of WIDTHS) {
    bench.figure({
      label: `inserts per second, ${width === 1 ? "1 writer" : `${width} writers`}, nobody connected`,
      values: Object.fromEntries(others.map((one) => [one.name, rate(one, width)])),
      beside: { [bare.name]: rate(bare, width) },
      goals: [{ of: "bare insert", least: 0.25 }],
    });
  }
}

function report(contenders: readonly Contender[], rounds: number): string {
  const [first, ...others] = contenders as [Contender, ...Contender[]];
  const rows = (value: (one: Contender, of: typeof rate, width: number) => number, list: readonly Contender[]) => [
    ...WIDTHS.map((width) => [`inserts per second, ${width} writers`, ...list.map((one) => value(one, rate, width))]),
    ...WIDTHS.map((width) => [`insert p50, ${width} writers, ms`, ...list.map((one) => value(one, ack, width))]),
  ];
  return `One row per transaction, nobody connected; ${rounds} interleaved rounds, medians. The rivals' time includes publishing, but for Socket.IO, whose emits cannot be awaited.

${table(
  ["ratio to a bare insert", ...others.map((one) => one.name)],
  rows((one, of, width) => of(one, width) / of(first, width), others),
)}

${table(
  ["absolute", ...contenders.map((one) => one.name)],
  rows((one, of, width) => of(one, width), contenders),
)}`;
}
