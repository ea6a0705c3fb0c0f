/**
 * The moment of the exchange. First writers are held and readers are not, while the last notes are followed and committed; then, when no
 * snapshot is left that could not see them, readers too, for the renaming alone. Whatever is in the way, it lets go and tries again.
 */
import { jitter } from "../backoff.ts";
import { sleep } from "../deadline.ts";
import { FOLLOW_BATCH, follow } from "./partition_follow.ts";
import { type PartitionOptions, passing, type Session, transaction } from "./partition_session.ts";

/** Notes that are few enough to be followed while writers wait. */
const FEW = 200;
/** Milliseconds that writers are held for old snapshots to end. */
const HOLD_MS = 60;
const TOLD_MS = 10_000;

class InTheWay extends Error {}

/** @returns false where it was asked to stop */
export async function swap(first: Session, second: Session, options: PartitionOptions): Promise<boolean> {
  const { signal, tell } = options;
  const began = performance.now();
  let told = began;
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      while ((await follow(second)).noted >= FEW);
      const at = performance.now();
      await transaction(first, (tx) => exchange(tx, second));
      tell(`Exchanged in ${Math.round(performance.now() - at)} ms, at attempt ${attempt}.`);
      await first`analyze tidings.notification`;
      return true;
    } catch (error) {
      if (!(error instanceof InTheWay) && !passing(error)) throw error;
      if (performance.now() - told > TOLD_MS) {
        tell(
          `${attempt} attempts so far: ${error instanceof InTheWay ? error.message : "a transaction on tidings.notification stays open"}.`,
        );
        told = performance.now();
      }
      await sleep(jitter(100, Math.min(1_000, 200 * attempt)), signal);
    }
  }
  return false;
}

async function exchange(tx: Session, second: Session): Promise<void> {
  // an upgrade re-runs functions, and would meet tables half renamed
  const [free] = await tx<{ migrating: boolean }[]>`
    select not pg_try_advisory_xact_lock_shared(hashtextextended('tidings migrate', 0)) as migrating`;
  if (free!.migrating) throw new InTheWay("an upgrade is running");
  await tx`lock table tidings.notification in exclusive mode`;
  const { noted, xact } = await follow(second);
  if (noted === FOLLOW_BATCH) throw new InTheWay("more is written than can be followed while writers wait");
  const [own] = await second<{ moment: string; pid: number }[]>`
    select clock_timestamp()::text as moment, pg_backend_pid() as pid`;
  for (const until = performance.now() + HOLD_MS; ; ) {
    const readers = await tx<{ pid: number; began: string }[]>`select pid, began::text as began
      from tidings.partition_readers(${own!.moment}::timestamptz, ${xact}::text::xid, array[${own!.pid}::int, pg_backend_pid()])`;
    if (readers.length === 0) break;
    if (performance.now() > until) {
      throw new InTheWay(
        `the transaction of pid ${readers[0]!.pid}, open since ${readers[0]!.began}, has a snapshot from before`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await tx`select tidings.partition_swap()`;
}
