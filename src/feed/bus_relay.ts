/**
 * The relay of a bus: the one instance of all that reads what was committed and publishes it, to a subject per user or
 * room. It reads the WAL where it may, else NOTIFY. When it dies its office is free at once, another takes it at its next
 * heartbeat, and has all instances look into their tables for what nobody published in between.
 */
import type { Bus, BusMessage } from "../bus/bus.ts";
import type { Sql } from "../db/client.ts";
import { leaveOffice, OFFICE, takeOffice } from "../db/office.ts";
import { describe } from "../errors.ts";
import type { ServiceLog } from "../log.ts";
import { parseEnvelopes } from "../protocol/envelope.ts";
import { briefEnvelopeOf, type Columns, envelopeOf, storedOf } from "../protocol/stored.ts";
import type { Claims } from "./claims.ts";
import { createPublisher } from "./publisher.ts";
import { createWalSource, type WalSource, type WalSourceOptions } from "./wal_source.ts";

export interface BusRelayOptions {
  readonly bus: Pick<Bus, "publish" | "up">;
  readonly claims: Pick<Claims, "hearsBy">;
  readonly wal: Omit<WalSourceOptions, "stored" | "heard" | "changed" | "missed" | "holds">;
  readonly log: ServiceLog;
}

export interface BusRelay {
  /** On the LISTEN connection, about once a second: takes the office where it is free. */
  beat(connection: Sql): Promise<void>;
  /** The text of a NOTIFY. */
  heard(text: string): void;
  /** Something may have been missed: has all instances look into their tables, where this is the relay. */
  missed(): void;
  /** The bus is down here: whoever has one takes over. */
  resign(): Promise<void>;
  /** The LISTEN connection is gone, and the office with it. */
  lost(): void;
  readonly elected: boolean;
  /** As the relay, from the WAL. */
  readonly readsWal: boolean;
  stop(): Promise<void>;
}

/** Longer entries are read by those who have streams for them. Well below what engines take. */
const MOST_BYTES = 64 * 1024;

export function createBusRelay({ bus, claims, wal: walOptions, log }: BusRelayOptions): BusRelay {
  const publisher = createPublisher(bus, (error) => log.warn({ err: error }, "publishing to the bus failed"));
  let isStopped = false;
  let taking: Promise<void> | undefined;
  /** The connection whose lock it is; undefined while another instance is the relay. */
  let office: Sql | undefined;
  let wal: WalSource | undefined;
  let ending: Promise<unknown> = Promise.resolve();

  const heard = (text: string): void => {
    publisher.put(parseEnvelopes(text).map((envelope) => ({ group: envelope.group, text: JSON.stringify(envelope) })));
  };
  const stored = (row: Columns): void => publisher.put([messageOf(row)]);

  function readWal(): void {
    const source: WalSource = createWalSource({
      ...walOptions,
      stored,
      heard,
      missed: publisher.lost,
      // somebody may, elsewhere
      holds: () => true,
      changed(up) {
        if (source !== wal) return;
        claims.hearsBy(up ? "wal" : "notify");
        publisher.lost();
      },
    });
    wal = source;
    source.start().catch((error: unknown) => {
      if (source === wal) log.info({}, `the bus is fed by NOTIFY, not from the WAL: ${describe(error)}`);
    });
  }

  async function take(connection: Sql): Promise<void> {
    if (office || isStopped || !bus.up || !(await takeOffice(connection, OFFICE.busRelay))) return;
    try {
      await connection.unsafe("listen tidings");
    } catch (error) {
      await leaveOffice(connection, OFFICE.busRelay);
      throw error;
    }
    office = connection;
    if (isStopped || !bus.up) return resign();
    claims.hearsBy("notify");
    publisher.lost();
    readWal();
    log.info({}, "this instance publishes to the bus");
  }

  async function resign(): Promise<void> {
    const connection = office;
    if (!connection) return;
    leave();
    await connection.unsafe("unlisten tidings");
    await leaveOffice(connection, OFFICE.busRelay);
  }

  function leave(): void {
    office = undefined;
    const source = wal;
    wal = undefined;
    claims.hearsBy("bus");
    ending = Promise.all([ending, source?.stop()]);
  }

  return {
    beat(connection) {
      taking ??= take(connection).finally(() => {
        taking = undefined;
      });
      return taking;
    },
    heard,
    missed() {
      if (office) publisher.lost();
    },
    async resign() {
      await taking?.catch(() => {});
      await resign();
    },
    lost() {
      if (office) leave();
    },
    get elected() {
      return office !== undefined;
    },
    get readsWal() {
      return wal?.up === true;
    },
    async stop() {
      isStopped = true;
      await taking?.catch(() => {});
      leave();
      await ending.catch(() => {});
      await publisher.settled();
    },
  };
}

function messageOf(row: Columns): BusMessage {
  const entry = storedOf(row);
  const text = envelopeOf(entry);
  const isLong = text.length > MOST_BYTES;
  return { group: `user_${entry.userId}`, text: isLong ? briefEnvelopeOf(entry) : text };
}
