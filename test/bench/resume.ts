/**
 * Everybody comes back at once with entries missed: handshake, token, replay. The floor replays from memory, unasked;
 * nchan from memory what it keeps. Socket.IO's Postgres adapter and Channels keep nothing for those who are away.
 */
import type { Bench, Contender } from "./bench.ts";
import { table } from "./numbers.ts";
import { createScores } from "./scores.ts";

const MISSED = 20;

export async function run(bench: Bench): Promise<string> {
  const clients = bench.size(5_000, 500, 20);
  const rounds = bench.size(3, 1, 1);
  const users = Array.from({ length: clients }, (_, at) => at + 1);
  const contenders = await bench.contenders(["nchan"]);
  await miss(bench, contenders, clients);
  const scores = createScores<"ms" | "cpu" | "postgres" | "queries">(contenders);
  const loads = new Map(contenders.map((one) => [one, bench.load()]));
  for (let round = 0; round < rounds; round++) {
    for (const one of contenders) {
      bench.say(`resume: round ${round + 1} of ${rounds}, ${one.name}`);
      const targets = await comingBack(one, users);
      const before = { queries: await queriesOf(one), cpu: await one.probe.cpu(), postgres: bench.postgresCpu() };
      const load = loads.get(one)!;
      const work = () => load.call("open", { group: "all", targets, kind: one.kind, replay: MISSED });
      const profiled = one.kind === "ws" && round === rounds - 1;
      const ms = await (profiled ? bench.profiled(one, `${clients} resume`, work) : work());
      const postgres = bench.postgresCpu() - before.postgres;
      const cpu = (await one.probe.cpu()) - before.cpu;
      scores.add(one, { ms, cpu, postgres, queries: (await queriesOf(one)) - before.queries });
      await load.call("close", { group: "all" });
    }
  }
  const values = { ...scores.values("ms"), "Socket.IO": "no replay", Channels: "no replay" };
  bench.figure({ label: `${clients} clients resume, ${MISSED} missed each, ms`, values, goals: [{ most: 3_000 }] });
  return `${clients} clients resume, 500 handshakes at a time, with ${MISSED} entries missed each; ${rounds} interleaved rounds, medians. Socket.IO's Postgres adapter has no connection state recovery, Channels no history.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    scores.ratios("ratio to the floor", "ms"),
    scores.row("until all caught up, ms", "ms"),
    scores.row("server CPU, ms", "cpu"),
    scores.row("Postgres CPU, ms", "postgres"),
    scores.row("queries", "queries"),
  ],
)}`;
}

/** The floor needs none: it makes up what it replays. */
async function miss(bench: Bench, contenders: readonly Contender[], clients: number): Promise<void> {
  for (const one of contenders) {
    bench.say(`resume: ${MISSED} entries for ${clients} users of ${one.name}`);
    if (one.name === "floor") continue;
    for (let n = 1; n <= MISSED; n++) await one.broadcast({ recipients: clients, n });
    await one.database.sql`analyze`;
  }
}

function comingBack(one: Contender, users: readonly number[]): ReturnType<Contender["targets"]> {
  if (one.kind === "ws") return one.targets(users, undefined, "last_event_id=0");
  return one.name === "nchan" ? one.targets(users, "/replay") : one.targets(users, undefined, `replay=${MISSED}`);
}

async function queriesOf(one: Contender): Promise<number> {
  return "metric" in one ? (one as { metric(name: string): Promise<number> }).metric("tidings_query_seconds_count") : 0;
}
