/** What publishing costs the writer: the same inserts without a trigger, with the floor's and with Tidings' trigger. */
import type { Bench, Database } from "./bench.ts";
import { median, table } from "./numbers.ts";

const USERS = 1_000;

interface Contender {
  readonly name: string;
  readonly database: Database;
  readonly rates: Map<number, number[]>;
  readonly acks: Map<number, number[]>;
  next: number;
}

export async function run(bench: Bench): Promise<string> {
  const writer = bench.writer();
  const bare = await bench.database();
  const floor = await bench.floor(await bench.database());
  const tidings = await bench.tidings(await bench.database());
  const contenders = [{ name: "bare insert", database: bare }, floor, tidings].map(
    ({ name, database }): Contender => ({ name, database, rates: new Map(), acks: new Map(), next: 1 }),
  );
  const widths = [1, 8];
  const rounds = bench.quick ? 1 : 3;
  for (let round = 0; round <= rounds; round++) {
    for (const connections of widths) {
      for (const one of contenders) {
        const seconds = bench.quick ? 0.5 : 1;
        const job = {
          url: one.database.url,
          table: "source",
          users: USERS,
          from: one.next,
          seconds,
          rate: 0,
          connections,
        };
        const { sent, ackMs } = await writer.call("write", job);
        one.next += sent.length;
        if (round === 0) continue; // warm
        one.rates.set(connections, [...(one.rates.get(connections) ?? []), sent.length / seconds]);
        one.acks.set(connections, [...(one.acks.get(connections) ?? []), ackMs]);
      }
    }
  }
  const [first, ...others] = contenders as [Contender, ...Contender[]];
  const rate = (one: Contender, width: number): number => median(one.rates.get(width)!);
  const ack = (one: Contender, width: number): number => median(one.acks.get(width)!);
  return `One row per transaction; ${rounds} interleaved rounds, medians.

${table(
  ["ratio to a bare insert", ...others.map((one) => one.name)],
  [
    ...widths.map((width) => [
      `inserts per second, ${width} writers`,
      ...others.map((one) => rate(one, width) / rate(first, width)),
    ]),
    ...widths.map((width) => [
      `insert p50, ${width} writers`,
      ...others.map((one) => ack(one, width) / ack(first, width)),
    ]),
  ],
)}

${table(
  ["absolute", ...contenders.map((one) => one.name)],
  [
    ...widths.map((width) => [`inserts per second, ${width} writers`, ...contenders.map((one) => rate(one, width))]),
    ...widths.map((width) => [`insert p50, ${width} writers, ms`, ...contenders.map((one) => ack(one, width))]),
  ],
)}`;
}
