/** Starts the bare floor: a row trigger that notifies, and a server of fifty lines (floor_server.ts). */
import type { Contender, Database, Workshop } from "./contender.ts";
import type { FloorHandlers } from "./floor_server.ts";
import { clock } from "./numbers.ts";
import { INSPECT, probe } from "./probe.ts";
import { type Child, startChild } from "./rpc.ts";

export interface Floor extends Contender {
  readonly child: Child<FloorHandlers>;
}

export async function startFloor(shop: Workshop, database: Database): Promise<Floor> {
  await database.sql.unsafe(TRIGGER);
  const child = startChild<FloorHandlers>("floor_server.ts", [INSPECT]);
  shop.undo(() => child.stop());
  const [looking, url] = await Promise.all([probe(child.process), child.call("start", { url: database.url })]);
  shop.undo(() => looking.close());
  const publish = { via: "trigger" } as const;
  return {
    name: "floor",
    rival: false,
    kind: "bare",
    url,
    database,
    probe: looking,
    child,
    targets: async (users, _path, query) =>
      users.map((user) => ({ user, url: `${url}/${user}${query ? `?${query}` : ""}` })),
    write: (rows) => shop.writing().call("write", { ...rows, url: database.url, table: "source" }),
    burst: (rows) => shop.writing().call("burst", { ...rows, url: database.url, publish }),
    broadcast: ({ recipients, n }) =>
      shop.writing().call("run", { url: database.url, text: broadcastText(recipients, n) }),
    async shout(n) {
      const sent = clock();
      await child.call("blast", { user: 1, n });
      return { sent, acked: clock() };
    },
  };
}

/** The texts are those of Tidings' trigger, so that the payloads are of one size. */
const TRIGGER = `
  create function notify_floor() returns trigger language plpgsql as $$
  begin
    perform pg_notify('floor', jsonb_build_object('to', new.user_id, 'type', 'notification', 'id', new.n, 'data',
      jsonb_build_object('id', new.n, 'notification_id', new.n, 'title', 'A row', 'message', 'Row ' || new.n || ' was written',
        'notification_type', 'row', 'is_read', false, 'created_at', clock_timestamp(), 'timestamp', clock_timestamp(),
        'data', jsonb_build_object('n', new.n), 'n', new.n))::text);
    return null;
  end $$;
  create trigger notify_floor after insert on source for each row execute function notify_floor()`;

const broadcastText = (recipients: number, n: number): string => `
  select count(pg_notify('floor', jsonb_build_object('to', u, 'type', 'notification', 'title', 'A row',
    'message', 'Row ${n} was written', 'notification_type', 'row', 'is_read', false, 'data', jsonb_build_object('n', ${n}))::text))
  from generate_series(1, ${recipients}) u`;
