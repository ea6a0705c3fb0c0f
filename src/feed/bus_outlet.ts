/** A bus as an outlet: to the subject of each message's group, once other sessions see what it tells of. */
import type { Bus } from "../bus/bus.ts";
import type { Sql } from "../db/client.ts";
import { LOST, type Outlet, SEEN, split } from "./queue.ts";

/** @param connection the LISTEN connection; one of the pool while there is none */
export function createBusOutlet(bus: Pick<Bus, "publish" | "up">, connection: () => Sql): Outlet {
  return {
    get up() {
      return bus.up;
    },
    async hand(loads) {
      let [seen, unseen] = [loads, [] as typeof loads];
      if (loads.some(({ xid }) => xid !== SEEN)) {
        const [row] = await connection()<{ now: string }[]>`select pg_current_snapshot()::text as now`;
        [seen, unseen] = split(loads, row!.now);
      }
      const refused = await bus.publish(seen.flatMap(({ messages }) => messages));
      // what is too big for the engine is read instead
      return refused.length > 0 ? [LOST, ...unseen] : unseen;
    },
  };
}
