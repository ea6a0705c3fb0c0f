/** One statement for many recipients, some of them connected: how long it takes, and until the last of them heard. */
import type { Bench, Contender } from "./bench.ts";
import { byName, patience } from "./contender.ts";
import { median, table } from "./numbers.ts";

interface Round {
  readonly published: number;
  readonly heard: number;
}

export async function run(bench: Bench): Promise<string> {
  const recipients = bench.size(20_000, 2_000, 50);
  const connected = bench.size(1_000, 200, 10);
  const rounds = bench.size(3, 1, 1);
  const contenders = await bench.contenders();
  const loads = new Map(contenders.map((one) => [one, bench.load()]));
  const users = Array.from({ length: connected }, (_, at) => Math.floor((at * recipients) / connected) + 1);
  for (const one of contenders) {
    await loads.get(one)!.call("open", { group: one.name, targets: await one.targets(users), kind: one.kind });
  }
  const played = new Map<Contender, Round[]>(contenders.map((one) => [one, []]));
  const lost = new Map<Contender, number>(contenders.map((one) => [one, 0]));
  for (let n = 1; n <= rounds + 1; n++) {
    for (const one of contenders) {
      bench.say(`broadcast: round ${n} of ${rounds + 1}, ${one.name}`);
      const load = loads.get(one)!;
      await load.call("expect", { from: n, most: 1, copies: connected, users: 0 });
      const work = () => one.broadcast({ recipients, n });
      const profiled = one.kind === "ws" && n > rounds;
      const { sent, acked } = await (profiled ? bench.profiled(one, `${recipients} recipients`, work) : work());
      const arrivals = await load.call("arrivals", { count: 1, quietMs: patience(one) });
      lost.set(one, lost.get(one)! + arrivals.lost);
      if (!one.rival && arrivals.lost > 0) process.exitCode = 1;
      if (n > 1) played.get(one)!.push({ published: acked - sent, heard: arrivals.at[0]! - sent });
    }
  }
  const of = (one: Contender, key: keyof Round): number => median(played.get(one)!.map((round) => round[key]));
  const values = (key: keyof Round) => byName(contenders.map((one) => [one, of(one, key)] as const));
  bench.figure({ label: `${recipients} recipients in one statement, ms`, values: values("published") });
  bench.figure({ label: "until the last connected one heard, ms", values: values("heard") });
  const [floor, ...others] = contenders;
  const ratio = (one: Contender, key: keyof Round): number => of(one, key) / of(floor!, key);
  return `${recipients} recipients in one statement, ${connected} of them connected; ${rounds} interleaved rounds, medians. The floor notifies ${recipients} times and stores nothing; the rivals' application stores a row for each in one statement and then publishes.

${table(
  ["ratio to the floor", ...others.map((one) => one.name)],
  [
    ["stored and published", ...others.map((one) => ratio(one, "published"))],
    ["until the last connected one heard", ...others.map((one) => ratio(one, "heard"))],
  ],
)}

${table(
  ["absolute", ...contenders.map((one) => one.name)],
  [
    ["stored and published, ms", ...contenders.map((one) => of(one, "published"))],
    ["until the last connected one heard, ms", ...contenders.map((one) => of(one, "heard"))],
    ["lost", ...contenders.map((one) => String(lost.get(one)))],
  ],
)}`;
}
