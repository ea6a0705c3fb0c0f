/** The three ways an instance hears of new entries, behind one interface: by NOTIFY, from the WAL, over a bus. */
import { type Bus, openBus } from "../bus/bus.ts";
import type { Sql } from "../db/client.ts";
import { atMost } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import { type BusRelay, createBusRelay } from "./bus_relay.ts";
import type { Claims } from "./claims.ts";
import { createEar, type Ear, SWEEP } from "./ear.ts";
import type { FeedOptions } from "./feed.ts";
import { createWalSource } from "./wal_source.ts";

export interface WayOptions extends Omit<FeedOptions, "changed" | "sweep"> {
  readonly claims: Claims;
  /** The LISTEN connection, or one of the pool while there is none. */
  connection(): Sql;
  /** Something may have been missed: look into the tables. */
  swept(): void;
  /** `up` may be another. */
  changed(): void;
}

export interface Way {
  /** Resolves once it hears. Rejects with TidingsError "configuration" where it never can. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
  /** For metrics. */
  readonly parts: Readonly<Record<string, boolean>>;
  /** Whether this instance hears NOTIFY. */
  readonly listens: boolean;
  /** The text of a NOTIFY. */
  notified(text: string): void;
  /** On the LISTEN connection, every heartbeat. */
  beat(connection: Sql): Promise<void>;
  /** The LISTEN connection is gone. */
  lost(): void;
  follow(group: string, isWanted: boolean): void;
  followed(): Promise<void> | undefined;
  /** NOTIFY was silent for a while: whoever hears by this instance may have missed something. */
  missed(): void;
}

/** How long a start waits for the WAL, whose slot waits for open transactions, or for a bus that is away. */
const PATIENCE_MS = 5_000;

const LISTENING = {
  listens: true,
  async beat(): Promise<void> {},
  lost(): void {},
  follow(): void {},
  followed: (): undefined => undefined,
  missed(): void {},
};

/** Waits for a start a while, and goes on without it where it takes longer. Rejects when the start fails before. */
async function patient(starting: Promise<void>, late: string, log: FeedOptions["log"]): Promise<void> {
  if (await atMost(PATIENCE_MS, starting)) return starting;
  log.warn({}, late);
  starting.catch((error: unknown) => log.error({ err: error }, "it could not be started after all"));
}

export function notifyWay({ claims, heard }: WayOptions): Way {
  return {
    ...LISTENING,
    up: true,
    parts: {},
    notified: heard,
    async start() {
      claims.hearsBy("notify");
    },
    async stop() {},
  };
}

/** Falls back to NOTIFY while the WAL is not read. */
export function walWay(options: WayOptions): Way {
  const { claims, log, heard, stored, swept } = options;
  const source = createWalSource({
    ...options,
    url: options.listenUrl,
    stored,
    heard,
    missed: swept,
    changed(up) {
      claims.hearsBy(up ? "wal" : "notify");
      swept();
    },
  });
  return {
    ...LISTENING,
    // NOTIFY stands in for it
    up: true,
    get parts() {
      return { wal: source.up };
    },
    notified: heard,
    async start() {
      claims.hearsBy("notify");
      await patient(source.start(), "the WAL is not read yet: a transaction is open; NOTIFY is used until then", log);
    },
    stop: () => source.stop(),
  };
}

export function busWay(options: WayOptions): Way {
  const { sql, busUrl, listenUrl: url, claims, log, heard, swept, changed } = options;
  let bus: Bus | undefined;
  let ear: Ear | undefined;
  let relay: BusRelay | undefined;
  let isStopped = false;
  const before: string[] = [];

  async function open(): Promise<Bus> {
    return openBus({
      url: busUrl!,
      prefix: await prefixOf(sql),
      onMessage: (text) => (text === SWEEP ? swept() : heard(text)),
      onUp() {
        relay?.missed();
        swept();
        changed();
      },
      onDown(error) {
        relay
          ?.resign()
          .catch((cause: unknown) => log.warn({ err: cause }, "the bus relay's office was not given back"));
        changed();
        swept();
        log.warn({ err: error }, "the bus is down; streams stay open and catch up when it is back");
      },
    });
  }

  return {
    get up() {
      return bus?.up === true;
    },
    get parts() {
      return { bus: bus?.up === true, relay: relay?.elected === true, wal: relay?.readsWal === true };
    },
    get listens() {
      return relay?.elected === true;
    },
    notified: (text) => relay?.heard(text),
    async start() {
      bus = await open();
      if (isStopped) throw new TidingsError("unavailable", "It was stopped while it was starting.");
      ear = createEar(bus, swept);
      relay = createBusRelay({ bus, claims, log, wal: { ...options, url } });
      await patient(bus.start(), "the bus does not answer; the tables are looked into until it does", log);
      ear.begin();
      for (const group of before.splice(0)) ear.follow(group, true);
      await ear.settled();
    },
    async stop() {
      isStopped = true;
      await relay?.stop();
      await bus?.stop();
    },
    async beat(connection) {
      await relay?.beat(connection);
    },
    lost: () => relay?.lost(),
    follow(group, isWanted) {
      if (ear) ear.follow(group, isWanted);
      else if (isWanted) before.push(group);
    },
    followed: () => ear?.settled(),
    missed: () => relay?.missed(),
  };
}

/** Instances of one database are together on the bus, whatever else is on it. */
async function prefixOf(sql: Sql): Promise<string> {
  const [row] = await sql<{ name: string }[]>`
    select 'tidings-' || (select system_identifier from pg_control_system()) || '-' || oid as name
    from pg_database where datname = current_database()`.catch((cause: unknown) => {
    throw new TidingsError(
      "database",
      "The database did not tell which one it is: pg_control_system() must be allowed.",
      {
        cause,
      },
    );
  });
  return row!.name;
}
