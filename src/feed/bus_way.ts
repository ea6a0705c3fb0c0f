/** Over a bus: an instance subscribes to the users and rooms it holds, and one of them is the relay that publishes. */
import { type Bus, openBus } from "../bus/bus.ts";
import type { Sql } from "../db/client.ts";
import { isAbsent, OFFICE } from "../db/office.ts";
import { atMost } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import { type BusRelay, createBusRelay } from "./bus_relay.ts";
import { createEar, type Ear, SWEEP } from "./ear.ts";
import type { Way, WayOptions } from "./way.ts";

/** How long a start waits for a bus that is away. */
const PATIENCE_MS = 5_000;

export function busWay(options: WayOptions): Way {
  const { sql, busUrl, log, relayed, sweeper, changed } = options;
  let bus: Bus | undefined;
  let ear: Ear | undefined;
  let relay: BusRelay | undefined;
  let isStopped = false;
  const before: string[] = [];

  async function open(): Promise<Bus> {
    return openBus({
      url: busUrl!,
      prefix: await prefixOf(sql),
      onMessage: (text) => (text === SWEEP ? sweeper.soon() : relayed(text)),
      onUp() {
        relay?.missed();
        sweeper.now();
        changed();
      },
      onDown(error) {
        relay
          ?.resign()
          .catch((cause: unknown) => log.warn({ err: cause }, "the bus relay's office was not given back"));
        changed();
        sweeper.now();
        log.warn({ err: error }, "the bus is down; streams stay open and catch up when it is back");
      },
    });
  }

  return {
    get up() {
      return bus?.up === true;
    },
    get parts() {
      return { bus: bus?.up === true, relay: relay?.active === true, wal: relay?.readsWal === true };
    },
    get listens() {
      return relay?.active === true;
    },
    notified: (text) => relay?.heard(text),
    async start() {
      bus = await open();
      if (isStopped) throw new TidingsError("unavailable", "It was stopped while it was starting.");
      ear = createEar(bus, sweeper.now);
      relay = createBusRelay({ bus, ...options });
      const starting = bus.start();
      if (await atMost(PATIENCE_MS, starting)) await starting;
      else {
        log.warn({}, "the bus does not answer; the tables are looked into until it does");
        starting.catch((error: unknown) => log.error({ err: error }, "the bus could not be used after all"));
      }
      ear.begin();
      for (const group of before.splice(0)) ear.follow(group, true);
      await ear.settled();
    },
    async stop() {
      isStopped = true;
      await relay?.stop();
      await bus?.stop();
    },
    async beat(connection, roster) {
      await relay?.beat(connection, roster);
      // who publishes does not run: nobody is told of anything
      if (isAbsent(roster.holders[OFFICE.busRelay])) sweeper.now();
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
