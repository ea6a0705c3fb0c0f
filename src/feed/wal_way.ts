/** NOTIFY too, but one instance of all reads the WAL for all and announces it: writers announce nothing. */
import { OFFICE, takeOffice } from "../db/office.ts";
import { refusal } from "../db/publication.ts";
import { walNeeds } from "../db/wal_needs.ts";
import { envelopeOf } from "../protocol/stored.ts";
import { createAnnouncer, MOST_BYTES } from "./announcer.ts";
import { createForwarder } from "./forwarder.ts";
import { LISTENING, type Way, type WayOptions } from "./way.ts";

export function walWay(options: WayOptions): Way {
  const { sql, claims, heard, connection } = options;
  const forwarder = createForwarder(options, {
    outlet: createAnnouncer(connection),
    format: envelopeOf,
    mostBytes: MOST_BYTES,
    roles: { reading: "announces", resting: "hears" },
  });
  let isStopped = false;
  return {
    ...LISTENING,
    get parts() {
      return { relay: forwarder.active, wal: forwarder.readsWal };
    },
    notified: heard,
    async start() {
      const need = await walNeeds(sql);
      if (typeof need === "object") throw refusal(need);
      // heartbeats run by now
      if (!forwarder.active) claims.plays("hears");
    },
    async stop() {
      isStopped = true;
      await forwarder.stop();
    },
    async beat(connection, roster) {
      if (forwarder.active || isStopped || !(await takeOffice(connection, OFFICE.announcing, roster))) return;
      if (!isStopped) forwarder.begin();
    },
    lost() {
      if (forwarder.active) forwarder.end();
    },
  };
}
