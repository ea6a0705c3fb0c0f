/**
 * Everybody comes back at once with entries missed: handshake, token, replay. The floor replays from memory, unasked;
 * nchan from memory what it keeps. Socket.IO's Postgres adapter and Channels keep nothing for those who are away.
 */
import type { Bench, Contender } from "./bench.ts";
import { median, table } from "./numbers.ts";

const MISSED = 20;

interface Round {
  readonly ms: number;
  readonly cpu: number;
  readonly postgres: number;
  readonly queries: number;
}

export async function run(bench: Bench): Promise<string> {
  const clients = bench.size(5_000, 500, 20);
  const rounds = bench.size(3, 1, 1);
  const users = Array.from({ length: clients }, (_, at) => at + 1);
  const contenders = await bench.contenders(["nchan"]);
  for (const one of contenders) {
    bench.say(`resume: ${MISSED} entries for ${clients} users of ${one.name}`);
    if (one.name !== "floor") for (let n = 1; n <= MISSED; n++) await one.broadcast({ recipients: clients, n });
    await one.database.sql`analyze`;
  }
  const played = new Map<Contender, Round[]>(contenders.map((one) => [one, []]));
  const loads = new Map(contenders.map((one) => [one, bench.load()]));
  for (let round = 0; round < rounds; round++) {
    for (const one of contenders) {
      bench.say(`resume: round ${round + 1} of ${rounds}, ${one.name}`);
      const targets = await comingBack(one, users);
      const queries = await queriesOf(one);
      const [cpu, postgres] = [await one.probe.cpu(), bench.postgresCpu()];
      const load = loads.get(one)!;
      const work = () => load.call("open", { group: "all", targets, kind: one.kind, replay: MISSED });
      const profiled = one.kind === "ws" && round === rounds - 1;
      const ms = await (profiled ? bench.profiled(one, `${clients} resume`, work) : work());
      played.get(one)!.push({
        ms,
        cpu: (await one.probe.cpu()) - cpu,
        postgres: bench.postgresCpu() - postgres,
        queries: (await queriesOf(one)) - queries,
      });
      await load.call("close", { group: "all" });
    }
  }
  const of = (one: Contender, key: keyof Round): number => median(played.get(one)!.map((round) => round[key]));
  bench.figure({
    label: `${clients} clients resume, ${MISSED} missed each, ms`,
    values: {
      "Socket.IO": "no replay",
      Channels: "no replay",
      ...Object.fromEntries(contenders.map((one) => [one.name, of(one, "ms")])),
    },
  });
  const row = (label: string, key: keyof Round): (string | number)[] => [
    label,
    ...contenders.map((one) => of(one, key)),
  ];
  return `${clients} clients resume, 500 handshakes at a time, with ${MISSED} entries missed each; ${rounds} interleaved rounds, medians. Socket.IO's Postgres adapter has no connection state recovery, Channels no history.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    ["ratio to the floor", ...contenders.map((one) => of(one, "ms") / of(contenders[0]!, "ms"))],
    row("until all caught up, ms", "ms"),
    row("server CPU, ms", "cpu"),
    row("Postgres CPU, ms", "postgres"),
    row("queries", "queries"),
  ],
)}`;
}

function comingBack(one: Contender, users: readonly number[]): ReturnType<Contender["targets"]> {
  if (one.kind === "ws") return one.targets(users, undefined, "last_event_id=0");
  return one.name === "nchan" ? one.targets(users, "/replay") : one.targets(users, undefined, `replay=${MISSED}`);
}

async function queriesOf(one: Contender): Promise<number> {
  return "metric" in one ? (one as { metric(name: string): Promise<number> }).metric("tidings_query_seconds_count") : 0;
}
