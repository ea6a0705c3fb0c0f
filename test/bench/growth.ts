/**
 * What grows with the number of users, and what with the number of entries: the main figures on three databases with
 * servers of their own, the first small, one with ten times the users, one with ten times the entries. They take turns.
 */
import type { Bench, Tidings } from "./bench.ts";
import { enter, type Player, play, RATE } from "./delivery.ts";
import { grow, HOARDER, UNREAD } from "./grown.ts";
import type { LoadHandlers } from "./load_process.ts";
import { median, percentile, table } from "./numbers.ts";
import type { Child } from "./rpc.ts";

const MISSED = 20;

interface World {
  readonly name: string;
  readonly users: number;
  readonly entries: number;
  readonly server: Tidings;
  readonly load: Child<LoadHandlers>;
  /** By the row of the table. */
  readonly found: Map<string, number>;
}

export async function run(bench: Bench): Promise<string> {
  const users = bench.size(1_000, 200, 10);
  const entries = bench.size(1_000_000, 100_000, 1_000);
  const worlds = [
    await createWorld(bench, "small", users, entries),
    await createWorld(bench, "10 × users", users * 10, entries * (bench.tiny ? 10 : 1)),
    await createWorld(bench, "10 × entries", users, entries * 10),
  ];
  await reads(bench, worlds);
  await deliveries(bench, worlds);
  await storms(bench, worlds);
  const rows = [...worlds[0]!.found.keys()];
  const of = (world: World, row: string): number => world.found.get(row)!;
  return `A small database, one with ten times the users and one with ten times the entries, the entries made by SQL; ${UNREAD} unread each. Rounds take turns; medians where nothing else is said.

${table(
  ["", ...worlds.slice(1).map((world) => `${world.name} : small`), ...worlds.map((world) => world.name)],
  [
    ["users, a socket each", "", "", ...worlds.map((world) => world.users)],
    ["entries", "", "", ...worlds.map((world) => world.entries)],
    ...rows.map((row) => [
      row,
      ...worlds.slice(1).map((world) => of(world, row) / of(worlds[0]!, row)),
      ...worlds.map((world) => of(world, row)),
    ]),
  ],
)}`;
}

async function createWorld(bench: Bench, name: string, users: number, entries: number): Promise<World> {
  const database = await bench.database();
  const server = await bench.tidings(database, name);
  await grow(bench, database, users, entries);
  const found = new Map<string, number>();
  const [size] = await database.sql<{ gb: number }[]>`
    select pg_total_relation_size('tidings.notification') / 1e9::float8 as gb`;
  found.set("notification table with its indexes, GB", size!.gb);
  return { name, users, entries, server, load: bench.load(), found };
}

/** Users spread over all there are, none of them twice. */
function some(world: World, count: number): number[] {
  const many = Math.min(count, world.users - HOARDER);
  return Array.from({ length: many }, (_, at) => HOARDER + 1 + Math.floor((at * (world.users - HOARDER)) / many));
}

/** One client after the other, while nothing else happens; everybody's pages are cold at first, then warm. */
async function reads(bench: Bench, worlds: readonly World[]): Promise<void> {
  const count = bench.size(300, 100, 5);
  for (const heat of ["first time", "again"]) {
    for (const world of worlds) {
      bench.say(`growth: reads, ${heat}, ${world.name}`);
      const { server, load, found, users, entries } = world;
      const back = await server.targets(some(world, count), undefined, `last_event_id=${entries / users - MISSED}`);
      const replays = await load.call("visit", { targets: back, replay: MISSED });
      found.set(`handshake and replay of ${MISSED}, ${heat}, ms`, percentile(replays, 0.5));
      found.set(`the same, p99, ms`, percentile(replays, 0.99));
      const inboxes = await load.call("get", { targets: await server.targets(some(world, count), "/api/inbox") });
      found.set(`inbox snapshot over REST, ${heat}, ms`, percentile(inboxes, 0.5));
      const hoarder = await server.targets(Array(10).fill(HOARDER), "/api/inbox");
      found.set(
        "inbox snapshot of who has read nothing, ms",
        percentile(await load.call("get", { targets: hoarder }), 0.5),
      );
    }
  }
}

/** Everybody at once, each with as many missed. */
async function storms(bench: Bench, worlds: readonly World[]): Promise<void> {
  for (const { name, server, load, found, users } of worlds) {
    bench.say(`growth: all ${users} users resume, ${name}`);
    const heads = await server.database.sql<{ u: number; last: number }[]>`
      select user_id::int as u, last_id::int as last from tidings.inbox order by 1`;
    const targets = await server.targets(heads.map(({ u }) => u));
    const cursors = targets.map((one, at) => ({ ...one, url: `${one.url}?last_event_id=${heads[at]!.last - MISSED}` }));
    const took = await load.call("open", { group: "storm", targets: cursors, kind: "ws", replay: MISSED });
    found.set(`all resume with ${MISSED} missed, ms per 1,000`, (took * 1_000) / users);
    await load.call("close", { group: "storm" });
  }
}

async function deliveries(bench: Bench, worlds: readonly World[]): Promise<void> {
  const players: Player[] = [];
  for (const { server, found, users } of worlds) {
    bench.say(`growth: ${users} sockets of ${server.name}`);
    const before = await server.probe.rss();
    players.push(await enter(bench, server, users));
    found.set("server memory a socket, KB", ((await server.probe.rss()) - before) / users);
    found.set("server memory in all, MB", (await server.probe.rss()) / 1024);
  }
  const rounds = bench.size(5, 2, 1);
  for (let round = 0; round < rounds; round++) {
    bench.say(`growth: round ${round + 1} of ${rounds}`);
    for (const one of players) one.rounds.push(await play(bench, one, round === rounds - 1));
  }
  // a process may have 20,000 files open, and the storms come next
  for (const { load, server } of players) await load.call("close", { group: server.name });
  worlds.forEach(({ found }, at) => {
    const one = players[at]!;
    const of = (key: keyof (typeof one.rounds)[number]): number => median(one.rounds.map((round) => round[key]));
    found.set(`commit to client at ${RATE}/s, p50, ms`, of("p50"));
    found.set(`commit to client at ${RATE}/s, p99, ms`, of("p99"));
    found.set("rows per second, 8 writers", of("rate"));
    found.set("server CPU per entry, µs", of("cpu"));
    found.set("Postgres CPU per entry, µs", of("postgres"));
    found.set("lost, doubled or astray", one.lost + one.doubled + one.astray);
  });
}
