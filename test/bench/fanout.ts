/** One transient message to a room of very many sockets, against a bare loop of `ws.send`: the cost of a copy. */
import type { Bench, Contender, Tidings } from "./bench.ts";
import { patience } from "./contender.ts";
import { table } from "./numbers.ts";
import { createScores } from "./scores.ts";

const WARM = 2;

export async function run(bench: Bench): Promise<string> {
  const sockets = bench.size(5_000, 1_000, 20);
  const rounds = bench.size(9, 3, 1);
  const contenders = await bench.contenders(undefined, { DOMAIN: "on" });
  const scores = createScores<"ms" | "cpu" | "lost">(contenders);
  const targets = (one: Contender) =>
    one.kind === "ws" ? room(one as Tidings, sockets) : one.targets(Array(sockets).fill(1));
  const loads = await bench.opened(contenders, targets);
  for (let n = 1; n <= rounds + WARM; n++) {
    bench.say(`fanout: round ${n} of ${rounds + WARM}`);
    for (const one of contenders) {
      const load = loads.get(one)!;
      await load.call("expect", { from: n, most: 1, copies: sockets, users: 0 });
      const before = await one.probe.cpu();
      const work = async () => ({
        ...(await one.shout(n)),
        ...(await load.call("arrivals", { count: 1, quietMs: patience(one) })),
      });
      const profiled = one.kind === "ws" && n === rounds + WARM;
      const { sent, at, lost } = await (profiled ? bench.profiled(one, `a room of ${sockets}`, work) : work());
      if (!one.rival && lost > 0) process.exitCode = 1;
      const cpu = (await one.probe.cpu()) - before;
      if (n > WARM) scores.add(one, { ms: at[0]! - sent, cpu, lost });
    }
  }
  const goals = [{ of: "floor", most: 1.2 }];
  bench.figure({ label: `room of ${sockets} sockets, until the last heard, ms`, values: scores.values("ms"), goals });
  bench.figure({ label: "server CPU for that, ms", values: scores.values("cpu") });
  return `One transient message to ${sockets} sockets; ${rounds} interleaved rounds, medians. The floor's is a bare loop of ws.send on one prepared string, begun by a message to its process; the others' begin with publishing.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    scores.ratios("ratio to the bare loop", "ms"),
    scores.row("until the last socket heard, ms", "ms"),
    scores.row("server CPU, ms", "cpu"),
    scores.row("sockets that did not", "lost"),
  ],
)}`;
}

/** A room of the reference domain with that many members, a socket each. */
async function room(one: Tidings, members: number): ReturnType<Tidings["targets"]> {
  const { sql } = one.database;
  await sql`insert into app."user" (id, username) overriding system value
    select u, 'user' || u from generate_series(1001, ${1_000 + members}::int) u`;
  await sql`insert into app.room (id, kind, name) overriding system value values (1, 'group', 'all')`;
  await sql`insert into app.room_member (room_id, user_id) select 1, u from generate_series(1001, ${1_000 + members}::int) u`;
  await sql`analyze`;
  const users = Array.from({ length: members }, (_, at) => 1_001 + at);
  return one.targets(users, "/ws/chat/room/1/");
}
