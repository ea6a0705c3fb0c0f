/**
 * The relay of a bus: the one instance of all that reads what was committed and publishes it, to a subject per user or
 * room. It reads the WAL where it may, else NOTIFY. When it dies its office is free at once, another takes it at its next
 * heartbeat, and has all instances look into their tables for what nobody published in between.
 */
import type { Bus } from "../bus/bus.ts";
import type { Sql } from "../db/client.ts";
import { leaveOffice, OFFICE, type Roster, takeOffice } from "../db/office.ts";
import { relayedOf } from "../protocol/relayed.ts";
import { isFromWal } from "./announcer.ts";
import { createBusOutlet } from "./bus_outlet.ts";
import { createForwarder, type Forwarder } from "./forwarder.ts";
import type { WayOptions } from "./way.ts";

export interface BusRelay extends Pick<Forwarder, "active" | "readsWal" | "missed" | "stop"> {
  /** On the LISTEN connection, about once a second: takes the office where it is free. */
  beat(connection: Sql, roster: Roster): Promise<void>;
  /** The text of a NOTIFY. */
  heard(text: string): void;
  /** The bus is down here: whoever has one takes over. */
  resign(): Promise<void>;
  /** The LISTEN connection is gone, and the office with it. */
  lost(): void;
}

/** Longer entries are read by those who have streams for them. Well below what engines take. */
const MOST_BYTES = 64 * 1024;

export function createBusRelay({ bus, ...options }: WayOptions & { readonly bus: Bus }): BusRelay {
  const { log } = options;
  const forwarder = createForwarder(options, {
    outlet: createBusOutlet(bus, options.connection),
    format: relayedOf,
    mostBytes: MOST_BYTES,
    roles: { reading: "publishes", resting: "apart" },
  });
  let isStopped = false;
  let taking: Promise<void> | undefined;
  /** The connection whose lock it is; undefined while another instance is the relay. */
  let office: Sql | undefined;

  async function take(connection: Sql, roster: Roster): Promise<void> {
    if (office || isStopped || !bus.up || !(await takeOffice(connection, OFFICE.busRelay, roster))) return;
    try {
      await connection.unsafe("listen tidings");
    } catch (error) {
      await leaveOffice(connection, OFFICE.busRelay);
      throw error;
    }
    office = connection;
    if (isStopped || !bus.up) return resign();
    forwarder.begin();
    log.info({}, "this instance publishes to the bus");
  }

  async function resign(): Promise<void> {
    const connection = office;
    if (!connection) return;
    lost();
    try {
      await connection.unsafe("unlisten tidings");
    } finally {
      await leaveOffice(connection, OFFICE.busRelay);
    }
  }

  function lost(): void {
    if (!office) return;
    office = undefined;
    forwarder.end();
  }

  return {
    beat(connection, roster) {
      taking ??= take(connection, roster).finally(() => {
        taking = undefined;
      });
      return taking;
    },
    heard(text) {
      // another announces what this one reads itself
      if (!(forwarder.readsWal && isFromWal(text))) forwarder.heard(text);
    },
    missed: forwarder.missed,
    async resign() {
      await taking?.catch(() => {});
      await resign();
    },
    lost,
    get active() {
      return forwarder.active;
    },
    get readsWal() {
      return forwarder.readsWal;
    },
    async stop() {
      isStopped = true;
      await taking?.catch(() => {});
      office = undefined;
      await forwarder.stop();
    },
  };
}
