/** Very many rows in one statement, an import: what arrives of them, and how long that takes. */
import type { Bench, Contender } from "./bench.ts";
import { byName, patience } from "./contender.ts";
import { median, table } from "./numbers.ts";

interface Round {
  readonly ms: number;
  readonly lost: number;
}

export async function run(bench: Bench): Promise<string> {
  const count = bench.size(15_000, 5_000, 50);
  const users = bench.size(1_000, 200, 20);
  const rounds = bench.size(3, 1, 1);
  const contenders = await bench.contenders();
  const loads = new Map(contenders.map((one) => [one, bench.load()]));
  const results = new Map<Contender, Round[]>(contenders.map((one) => [one, []]));
  for (const one of contenders) {
    const targets = await one.targets(Array.from({ length: users }, (_, at) => at + 1));
    await loads.get(one)!.call("open", { group: one.name, targets, kind: one.kind });
  }
  for (let round = 0; round < rounds; round++) {
    for (const one of contenders) {
      bench.say(`burst: round ${round + 1} of ${rounds}, ${one.name}`);
      const load = loads.get(one)!;
      const from = 1 + round * count;
      await load.call("expect", { from, most: count, users });
      const work = () => one.burst({ from, count, users });
      const profiled = one.kind === "ws" && round === rounds - 1;
      const { sent } = await (profiled ? bench.profiled(one, `${count} rows in one statement`, work) : work());
      const { at, lost, doubled, astray } = await load.call("arrivals", { count, quietMs: patience(one) });
      if (!one.rival && lost + doubled + astray > 0) process.exitCode = 1;
      results.get(one)!.push({ ms: at.reduce((a, b) => (b > a ? b : a), sent) - sent, lost });
    }
  }
  const share = (one: Contender): string => {
    const lost = median(results.get(one)!.map((round) => round.lost));
    return lost === 0 ? "0" : `${((100 * lost) / count).toFixed(1)} %`;
  };
  const took = (one: Contender): number => median(results.get(one)!.map((round) => round.ms));
  bench.figure({
    label: `lost of ${count} rows in one statement`,
    values: byName(contenders.map((one) => [one, share(one)] as const)),
  });
  bench.figure({
    label: "until the last of them, ms",
    values: byName(contenders.map((one) => [one, took(one)] as const)),
  });
  return `${count} rows in one statement for ${users} connected users; ${rounds} interleaved rounds, medians. The rivals' application publishes each row after the commit, eight at a time.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    ["lost", ...contenders.map(share)],
    ["until the last that came, ms", ...contenders.map(took)],
  ],
)}`;
}
