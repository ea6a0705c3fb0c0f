/** One statement for many recipients, some of them connected: how long it takes, and until the last of them heard. */
import type { Bench, Server } from "./bench.ts";
import { median, table } from "./numbers.ts";

interface Round {
  readonly statement: number;
  readonly heard: number;
}

export async function run(bench: Bench): Promise<string> {
  const recipients = bench.quick ? 2_000 : 20_000;
  const connected = bench.quick ? 200 : 1_000;
  const rounds = bench.quick ? 1 : 3;
  const load = bench.load();
  const writer = bench.writer();
  const floor = await bench.floor(await bench.database());
  const tidings = await bench.tidings(await bench.database());
  const users = Array.from({ length: connected }, (_, at) => Math.floor((at * recipients) / connected) + 1);
  await load.call("open", { group: "floor", targets: await floor.targets(users), kind: "bare" });
  await load.call("open", { group: "tidings", targets: await tidings.targets(users), kind: "ws" });
  const played = new Map<Server, Round[]>([
    [floor, []],
    [tidings, []],
  ]);
  let n = 0;
  let lost = 0;
  for (let round = 0; round <= rounds; round++) {
    for (const [server, results] of played) {
      n++;
      await load.call("expect", { from: n, most: 1, copies: connected, users: 0 });
      const text = server === floor ? floorText(recipients, n) : tidingsText(recipients, n);
      const { sent, acked } = await writer.call("run", { url: server.database.url, text });
      const arrivals = await load.call("arrivals", { count: 1, timeoutMs: 10_000 });
      lost += arrivals.lost;
      if (round > 0) results.push({ statement: acked - sent, heard: arrivals.at[0]! - sent });
    }
  }
  if (lost > 0) process.exitCode = 1;
  const of = (server: Server, key: keyof Round): number => median(played.get(server)!.map((one) => one[key]));
  const row = (label: string, key: keyof Round): (string | number)[] => [
    label,
    of(tidings, key) / of(floor, key),
    of(floor, key),
    of(tidings, key),
  ];
  return `${recipients} recipients in one statement, ${connected} of them connected; ${rounds} rounds, medians. The floor notifies ${recipients} times and stores nothing. Lost: ${lost}.

${table(
  ["", "ratio", "floor", "tidings"],
  [row("statement, ms", "statement"), row("until the last connected one heard, ms", "heard")],
)}`;
}

const tidingsText = (recipients: number, n: number): string =>
  `select tidings.broadcast(array(select generate_series(1, ${recipients})::bigint), 'A row', 'Row ${n} was written', 'row',
    jsonb_build_object('n', ${n}))`;

const floorText = (recipients: number, n: number): string => `
  select count(pg_notify('floor', jsonb_build_object('to', u, 'type', 'notification', 'title', 'A row',
    'message', 'Row ${n} was written', 'notification_type', 'row', 'is_read', false, 'data', jsonb_build_object('n', ${n}))::text))
  from generate_series(1, ${recipients}) u`;
