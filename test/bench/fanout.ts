/** One transient message to a room of very many sockets, against a bare loop of `ws.send`: the cost of a copy. */
import type { Bench, Contender, Tidings } from "./bench.ts";
import { byName, patience } from "./contender.ts";
import { median, table } from "./numbers.ts";

interface Round {
  readonly ms: number;
  readonly cpu: number;
}

const ROOM = "/ws/chat/room/1/";

export async function run(bench: Bench): Promise<string> {
  const sockets = bench.size(5_000, 1_000, 20);
  const rounds = bench.size(9, 3, 1);
  const floor = await bench.floor(await bench.database());
  const tidings = await bench.tidings(await bench.database(), undefined, undefined, { DOMAIN: "on" });
  const contenders: Contender[] = [floor, tidings];
  if (bench.against) {
    contenders.push(await bench.tidings(await bench.database(), "against", bench.against, { DOMAIN: "on" }));
  }
  contenders.push(...(await bench.rivalsStarted()));
  const loads = new Map(contenders.map((one) => [one, bench.load()]));
  const played = new Map<Contender, Round[]>(contenders.map((one) => [one, []]));
  for (const one of contenders) {
    bench.say(`fanout: ${sockets} sockets of ${one.name}`);
    const targets = one.kind === "ws" ? await room(one as Tidings, sockets) : await one.targets(Array(sockets).fill(1));
    await loads.get(one)!.call("open", { group: one.name, targets, kind: one.kind });
  }
  let lost = 0;
  for (let n = 1; n <= rounds + 2; n++) {
    for (const one of contenders) {
      const load = loads.get(one)!;
      await load.call("expect", { from: n, most: 1, copies: sockets, users: 0 });
      const cpu = await one.probe.cpu();
      const work = () => one.shout(n);
      const profiled = one.kind === "ws" && n === rounds + 2;
      const { sent } = await (profiled ? bench.profiled(one, `a room of ${sockets}`, work) : work());
      const arrivals = await load.call("arrivals", { count: 1, quietMs: patience(one) });
      if (!one.rival) lost += arrivals.lost;
      if (n > 2) played.get(one)!.push({ ms: arrivals.at[0]! - sent, cpu: (await one.probe.cpu()) - cpu });
    }
  }
  if (lost > 0) process.exitCode = 1;
  const of = (one: Contender, key: keyof Round): number => median(played.get(one)!.map((round) => round[key]));
  const values = (key: keyof Round) => byName(contenders.map((one) => [one, of(one, key)] as const));
  const goals = [{ of: "floor", most: 1.2 }];
  bench.figure({ label: `room of ${sockets} sockets, until the last heard, ms`, values: values("ms"), goals });
  bench.figure({ label: "server CPU for that, ms", values: values("cpu") });
  return `One transient message to ${sockets} sockets; ${rounds} interleaved rounds, medians. The floor's is a bare loop of ws.send on one prepared string, begun by a message to its process; the others' begin with publishing. Lost by Tidings or the floor: ${lost}.

${table(
  ["", ...contenders.map((one) => one.name)],
  [
    ["ratio to the bare loop", ...contenders.map((one) => of(one, "ms") / of(floor, "ms"))],
    ["until the last socket heard, ms", ...contenders.map((one) => of(one, "ms"))],
    ["server CPU, ms", ...contenders.map((one) => of(one, "cpu"))],
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
  return one.targets(
    Array.from({ length: members }, (_, at) => 1_001 + at),
    ROOM,
  );
}
