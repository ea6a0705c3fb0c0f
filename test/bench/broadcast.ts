/** One statement for many recipients, some of them connected: how long it takes, and until the last of them heard. */
import type { Bench } from "./bench.ts";
import { patience } from "./contender.ts";
import { table } from "./numbers.ts";
import { createScores } from "./scores.ts";

export async function run(bench: Bench): Promise<string> {
  const recipients = bench.size(20_000, 2_000, 50);
  const connected = bench.size(1_000, 200, 10);
  const rounds = bench.size(3, 1, 1);
  const contenders = await bench.contenders();
  const scores = createScores<"published" | "heard" | "lost">(contenders);
  const users = Array.from({ length: connected }, (_, at) => Math.floor((at * recipients) / connected) + 1);
  const loads = await bench.opened(contenders, (one) => one.targets(users));
  for (let n = 1; n <= rounds + 1; n++) {
    for (const one of contenders) {
      bench.say(`broadcast: round ${n} of ${rounds + 1}, ${one.name}`);
      const load = loads.get(one)!;
      await load.call("expect", { from: n, most: 1, copies: connected, users: 0 });
      const work = async () => ({
        ...(await one.broadcast({ recipients, n })),
        ...(await load.call("arrivals", { count: 1, quietMs: patience(one) })),
      });
      const profiled = one.kind === "ws" && n > rounds;
      const result = await (profiled ? bench.profiled(one, `${recipients} recipients`, work) : work());
      const { sent, acked, at, lost } = result;
      if (!one.rival && lost > 0) process.exitCode = 1;
      if (n > 1) scores.add(one, { published: acked - sent, heard: at[0]! - sent, lost });
    }
  }
  bench.figure({ label: `${recipients} recipients in one statement, ms`, values: scores.values("published") });
  bench.figure({ label: "until the last connected one heard, ms", values: scores.values("heard") });
  return `${recipients} recipients in one statement, ${connected} of them connected; ${rounds} interleaved rounds, medians. The floor notifies ${recipients} times and stores nothing; the rivals' application stores a row for each in one statement and then publishes.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    scores.ratios("stored and published, ratio to the floor", "published"),
    scores.ratios("until the last connected one heard, ratio", "heard"),
    scores.row("stored and published, ms", "published"),
    scores.row("until the last connected one heard, ms", "heard"),
    scores.row("connected ones that did not", "lost"),
  ],
)}`;
}
