/** A bus as an outlet: to the subject of each message's group, once other sessions see what it tells of. */
import type { Bus } from "../bus/bus.ts";
import { currentSnapshot } from "../db/snapshot.ts";
import { LOST, type Outlet, SEEN, split } from "./queue.ts";
import { alive, type WayOptions } from "./way.ts";

export function createBusOutlet(bus: Pick<Bus, "publish" | "up">, connection: WayOptions["connection"]): Outlet {
  return {
    get up() {
      return bus.up && connection() !== null;
    },
    async hand(loads, signal) {
      const isSure = loads.every(({ xid }) => xid === SEEN);
      const [seen, unseen] = isSure ? [loads, []] : split(loads, await currentSnapshot(alive(connection)));
      signal.throwIfAborted();
      // one sweep is as good as many
      const refused = await bus.publish([...new Set(seen.flatMap(({ messages }) => messages))]);
      // what is too big for the engine is read instead
      return refused.length > 0 ? [LOST, ...unseen] : unseen;
    },
  };
}
