/**
 * What other sessions see. Postgres sends a commit out of the WAL a moment before they do, and for as long as it waits for
 * a synchronous standby: whoever read the tables on hearing of it might find nothing.
 */
import type { Sql } from "./client.ts";

/** pg_current_snapshot(), now. */
export async function currentSnapshot(sql: Sql): Promise<string> {
  const [row] = await sql<{ now: string }[]>`select pg_current_snapshot()::text as now`;
  return row!.now;
}

/**
 * Whether a transaction, by its 32-bit id, is over in a snapshot.
 * @param text pg_current_snapshot(): `xmin:xmax:xip,xip…` of 64-bit ids
 */
export function readSnapshot(text: string): (xid: number) => boolean {
  const [, xmax = "", running = ""] = text.split(":");
  const short = (id: string): number => Number(BigInt.asUintN(32, BigInt(id)));
  const end = short(xmax);
  const open = new Set(running === "" ? [] : running.split(",").map(short));
  return (xid) => {
    const ahead = (end - xid) >>> 0;
    return ahead !== 0 && ahead < 2 ** 31 && !open.has(xid);
  };
}
