/** One entry of a user with very many sockets, against a bare loop of `ws.send`: the cost of a copy. */
import type { Bench } from "./bench.ts";
import { clock, median, table } from "./numbers.ts";

export async function run(bench: Bench): Promise<string> {
  const sockets = bench.quick ? 500 : 5_000;
  const rounds = bench.quick ? 3 : 9;
  const load = bench.load();
  const writer = bench.writer();
  const floor = await bench.floor(await bench.database());
  const tidings = await bench.tidings(await bench.database());
  const users = Array.from({ length: sockets }, () => 1);
  await load.call("open", { group: "floor", targets: await floor.targets(users), kind: "bare" });
  await load.call("open", { group: "tidings", targets: await tidings.targets(users), kind: "ws" });
  const results = {
    floor: [] as number[],
    tidings: [] as number[],
    floorCpu: [] as number[],
    tidingsCpu: [] as number[],
  };
  let lost = 0;
  for (let n = 1; n <= rounds * 2 + 2; n++) {
    const bare = n % 2 === 0;
    const { probe } = bare ? floor : tidings;
    await load.call("expect", { from: n, most: 1, copies: sockets, users: 0 });
    const cpu = await probe.cpu();
    const began = clock();
    if (bare) await floor.child.call("blast", { user: 1, n });
    else await writer.call("run", { url: tidings.database.url, text: `insert into source values (${n}, 1)` });
    const arrivals = await load.call("arrivals", { count: 1, timeoutMs: 10_000 });
    lost += arrivals.lost;
    if (n <= 2) continue; // warm
    results[bare ? "floor" : "tidings"].push(arrivals.at[0]! - began);
    results[bare ? "floorCpu" : "tidingsCpu"].push((await probe.cpu()) - cpu);
  }
  if (lost > 0) process.exitCode = 1;
  const row = (label: string, bare: number[], ours: number[]): (string | number)[] => [
    label,
    median(ours) / median(bare),
    median(bare),
    median(ours),
  ];
  return `One frame to ${sockets} sockets of one user; ${rounds} interleaved rounds, medians. Tidings' begins with an insert, the loop's with a message to its process. Lost: ${lost}.

${table(
  ["", "ratio", "bare loop", "tidings"],
  [
    row("until the last socket heard, ms", results.floor, results.tidings),
    row("server CPU, ms", results.floorCpu, results.tidingsCpu),
  ],
)}`;
}
