/** A bus as an outlet: to the subject of each message's group, once other sessions see what it tells of. */
import type { Bus } from "../bus/bus.ts";
import { LOST, type Outlet, SEEN, split } from "./queue.ts";
import { alive, type WayOptions } from "./way.ts";

export function createBusOutlet(bus: Pick<Bus, "publish" | "up">, connection: WayOptions["connection"]): Outlet {
  return {
    get up() {
      return bus.up && connection() !== null;
    },
    async hand(loads) {
      let [seen, unseen] = [loads, [] as typeof loads];
      if (loads.some(({ xid }) => xid !== SEEN)) {
        const [row] = await alive(connection)<{ now: string }[]>`select pg_current_snapshot()::text as now`;
        [seen, unseen] = split(loads, row!.now);
      }
      const refused = await bus.publish(seen.flatMap(({ messages }) => messages));
      // what is too big for the engine is read instead
      return refused.length > 0 ? [LOST, ...unseen] : unseen;
    },
  };
}
