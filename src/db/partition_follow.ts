/** Following the notes of a partitioning: keys that were written to since they were copied (sql/tidings/functions/partition_copy.sql). */
import type { Session } from "./partition_session.ts";

/** Notes followed at a go. */
export const FOLLOW_BATCH = 2_000;

/** Follows some; tells how many, and in which transaction. */
export async function follow(session: Session): Promise<{ noted: number; xact: string }> {
  const [row] = await session<{ noted: number; xact: string }[]>`
    select noted::int as noted, xact::text as xact from tidings.partition_follow(${FOLLOW_BATCH}::int)`;
  return row!;
}
