/** Checks of the way NOTIFY takes: does it arrive on LISTEN_URL, and is its queue drained. */
import { randomUUID } from "node:crypto";
import type { Sql } from "../db/client.ts";
import { openSingle } from "../db/single.ts";
import { describe } from "../errors.ts";
import type { Check, Finding } from "./doctor.ts";

const ROUNDS = 3;
const ROUND_MS = 300;
const WAIT_MS = 3_000;

/**
 * Sends on DATABASE_URL what should arrive on LISTEN_URL, a few times with pauses: a pooler in transaction mode takes the
 * LISTEN, says it is done, and hands the connection to somebody else.
 */
export const listening: Check = async ({ sql, database }) => {
  const channel = `tidings_doctor_${randomUUID().slice(0, 8)}`;
  let heard = 0;
  const single = openSingle(database.listenUrl, { name: "doctor", onNotify: () => heard++, onClose() {} });
  const separate = database.listenUrl !== database.url;
  const through = separate ? "LISTEN_URL" : "DATABASE_URL";
  try {
    await single.sql.unsafe(`listen "${channel}"`);
    for (let round = 0; round < ROUNDS; round++) {
      await sql`select pg_notify(${channel}, '')`;
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    }
    for (const until = Date.now() + WAIT_MS; heard < ROUNDS && Date.now() < until; ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch (error) {
    return { state: "fail", text: `${through} takes no LISTEN: ${describe(error)}`, mend: `check ${through}` };
  } finally {
    await single.leave(1_000);
  }
  if (heard === ROUNDS) return { state: "ok", text: `${heard} of ${ROUNDS} NOTIFYs arrived through ${through}` };
  const mend = separate
    ? "LISTEN_URL and DATABASE_URL must lead to the same database, LISTEN_URL past any pooler"
    : "set LISTEN_URL to a direct connection, or the pooler to session mode";
  return { state: "fail", text: `${heard} of ${ROUNDS} NOTIFYs arrived through ${through}`, mend };
};

export const queue: Check = async ({ sql }) => {
  const [row] = await sql<{ usage: number; instances: number; blocker: string | null }[]>`
    select pg_notification_queue_usage() as usage,
      (select count(distinct pid)::int from pg_locks where locktype = 'advisory' and classid = 1953063017 and objid = 0
        and mode = 'ExclusiveLock' and granted and database = (select oid from pg_database where datname = current_database())) as instances,
      (select format('pid %s (%s), in a transaction since %s', pid, application_name, xact_start) from pg_stat_activity
        where state like 'idle in transaction%' order by xact_start limit 1) as blocker`;
  const { usage, instances, blocker } = row!;
  const relay = instances > 0 ? "a server relays" : "no server is running";
  const text = `${(usage * 100).toFixed(1)} % of the NOTIFY queue in use; ${relay}`;
  const mend = `end the session that LISTENs and does not read: ${blocker ?? "see pg_stat_activity for old transactions"}`;
  if (usage > 0.5) return { state: "fail", text, mend };
  if (usage > 0.05) return { state: "warn", text, mend };
  const waiting = instances > 0 ? 0 : await unannounced(sql);
  return waiting > 0 ? left(waiting) : { state: "ok", text };
};

function left(waiting: number): Finding {
  return { state: "warn", text: `${waiting} envelopes wait for a relay`, mend: "start a server: tidings serve" };
}

async function unannounced(sql: Sql): Promise<number> {
  const [row] = await sql<{ waiting: number }[]>`select count(*)::int as waiting from tidings.unannounced`;
  return row!.waiting;
}
