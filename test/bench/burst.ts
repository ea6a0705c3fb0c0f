/** Very many rows in one statement, an import: what arrives of them, and how long that takes. */
import type { Bench, Contender } from "./bench.ts";
import { byName, patience } from "./contender.ts";
import { table } from "./numbers.ts";
import { createScores, type Scores } from "./scores.ts";

type Key = "ms" | "lost";

export async function run(bench: Bench): Promise<string> {
  const count = bench.size(15_000, 5_000, 50);
  const users = bench.size(1_000, 200, 20);
  const rounds = bench.size(3, 1, 1);
  const contenders = await bench.contenders();
  const scores = createScores<Key>(contenders);
  const everybody = Array.from({ length: users }, (_, at) => at + 1);
  const loads = await bench.opened(contenders, (one) => one.targets(everybody));
  for (let round = 0; round < rounds; round++) {
    for (const one of contenders) {
      bench.say(`burst: round ${round + 1} of ${rounds}, ${one.name}`);
      const load = loads.get(one)!;
      const from = 1 + round * count;
      await load.call("expect", { from, most: count, users });
      const work = async () => ({
        ...(await one.burst({ from, count, users })),
        ...(await load.call("arrivals", { count, quietMs: patience(one) })),
      });
      const profiled = one.kind === "ws" && round === rounds - 1;
      const result = await (profiled ? bench.profiled(one, `${count} rows in one statement`, work) : work());
      const { sent, at, lost, doubled, astray } = result;
      if (!one.rival && lost + doubled + astray > 0) process.exitCode = 1;
      scores.add(one, { ms: at.reduce((a, b) => (b > a ? b : a), sent) - sent, lost });
    }
  }
  return report(
    bench,
    contenders,
    scores,
    count,
    `for ${users} connected users; ${rounds} interleaved rounds, medians`,
  );
}

function report(
  bench: Bench,
  contenders: readonly Contender[],
  scores: Scores<Key>,
  count: number,
  how: string,
): string {
  const share = (one: Contender): string => {
    const lost = scores.of(one, "lost");
    return lost === 0 ? "0" : `${((100 * lost) / count).toFixed(1)} %`;
  };
  const lost = byName(contenders.map((one) => [one, share(one)] as const));
  bench.figure({ label: `lost of ${count} rows in one statement`, values: lost });
  bench.figure({ label: "until the last of them that came, ms", values: scores.values("ms") });
  return `${count} rows in one statement ${how}. The rivals' application publishes each row after the commit, eight at a time.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    ["lost", ...contenders.map(share)],
    scores.row("until the last that came, ms", "ms"),
    scores.ratios("ratio to the floor", "ms"),
  ],
)}`;
}
