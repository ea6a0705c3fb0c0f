/** Everybody comes back at once with entries missed: handshake, token, replay. The floor replays from memory, unasked. */
import type { Bench } from "./bench.ts";
import { table } from "./numbers.ts";

const MISSED = 20;

export async function run(bench: Bench): Promise<string> {
  const clients = bench.quick ? 500 : 5_000;
  const users = Array.from({ length: clients }, (_, at) => at + 1);
  const load = bench.load();
  const writer = bench.writer();
  const floor = await bench.floor(await bench.database());
  const tidings = await bench.tidings(await bench.database());
  const { database, probe } = tidings;
  for (let n = 1; n <= MISSED; n++) {
    const text = `select tidings.broadcast(array(select generate_series(1, ${clients})::bigint), 'A row', 'Row ${n} was written', 'row',
      jsonb_build_object('n', ${n}))`;
    await writer.call("run", { url: database.url, text });
  }
  await database.sql`analyze`;
  const queries = (): Promise<number> => tidings.metric("tidings_query_seconds_count");
  const bareTargets = await floor.targets(users, undefined, `replay=${MISSED}`);
  const bareCpu = await floor.probe.cpu();
  const bare = await load.call("open", { group: "floor", targets: bareTargets, kind: "bare", replay: MISSED });
  const bareSpent = (await floor.probe.cpu()) - bareCpu;
  await load.call("close", { group: "floor" });
  const targets = await tidings.targets(users, undefined, "last_event_id=0");
  const before = await queries();
  const cpu = await probe.cpu();
  const took = await load.call("open", { group: "tidings", targets, kind: "ws", replay: MISSED });
  const spent = (await probe.cpu()) - cpu;
  const asked = (await queries()) - before;
  return `${clients} clients resume, 500 handshakes at a time, with ${MISSED} entries missed each.

${table(
  ["", "ratio", "floor", "tidings"],
  [
    ["until all caught up, ms", took / bare, bare, took],
    ["server CPU, ms", spent / bareSpent, bareSpent, spent],
    ["read queries", "", "", asked],
  ],
)}`;
}
