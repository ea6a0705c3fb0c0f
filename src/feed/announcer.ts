/** NOTIFY as an outlet: what one instance reads from the WAL is announced to all, many envelopes at a time. */
import { currentSnapshot } from "../db/snapshot.ts";
import { TidingsError } from "../errors.ts";
import { EVERYONE, SWEEP } from "./ear.ts";
import { type Load, type Outlet, SEEN, split } from "./queue.ts";
import { alive, type WayOptions } from "./way.ts";

/** Postgres takes 7,999 bytes. Two of them are the brackets of an array, some for the mark. */
const MOST_NOTIFY_BYTES = 7_900;
export const MOST_BYTES: number = MOST_NOTIFY_BYTES - 2;
/** What comes from a writer never begins with it, and to JSON it is nothing. */
const MARK = " ";

const encoder = new TextEncoder();
const buffer = new Uint8Array(MOST_NOTIFY_BYTES);

/** Whether the text of a NOTIFY is envelopes out of the WAL, and not a writer's. */
export const isFromWal = (text: string): boolean => text.startsWith(MARK);

export function createAnnouncer(connection: WayOptions["connection"]): Outlet {
  /** Some were not seen the last time: it is likely again, so it is asked first. */
  let wereLate = false;

  /** Null, or the snapshot in which not all was seen: then nothing was announced. */
  async function announce(loads: readonly Load[]): Promise<string | null> {
    const messages = loads.flatMap((load) => load.messages);
    const envelopes = messages.filter(({ group }) => group !== EVERYONE).map(({ text }) => text);
    // sweeps are no envelopes
    const texts = [...pack(envelopes), ...(envelopes.length < messages.length ? [SWEEP] : [])];
    const xids = `{${loads.map(({ xid }) => xid).filter((xid) => xid !== SEEN)}}`;
    // no JSON text holds a line break
    const [row] = await alive(connection)<{ unseen: string | null }[]>`
      select tidings.announce_decoded(${xids}::text::bigint[], ${texts.join("\n")}) as unseen`;
    return row!.unseen;
  }
  return {
    get up() {
      return connection() !== null;
    },
    async hand(loads, signal) {
      const snapshot = wereLate ? await currentSnapshot(alive(connection)) : await announce(loads);
      if (snapshot === null) return [];
      const [seen, unseen] = split(loads, snapshot);
      wereLate = unseen.length > 0;
      signal.throwIfAborted();
      // a snapshot never sees less than the one before
      if (seen.length > 0 && (await announce(seen)) !== null) throw new TidingsError("database", "A commit went away.");
      return unseen;
    },
  };
}

/** Into as few arrays as fit a NOTIFY, in order; each envelope fits one. */
function pack(envelopes: readonly string[]): string[] {
  const texts: string[] = [];
  let first = 0;
  let size = 1;
  const end = (at: number): void => {
    if (at > first) texts.push(`${mark(texts.length)}[${envelopes.slice(first, at).join()}]`);
    first = at;
    size = 1;
  };
  for (const [at, envelope] of envelopes.entries()) {
    const more = encoder.encodeInto(envelope, buffer).written + 1;
    if (size + more > MOST_NOTIFY_BYTES) end(at);
    size += more;
  }
  end(envelopes.length);
  return texts;
}

/** Of equal NOTIFYs of one transaction Postgres keeps one: no two of ours are (as tidings.pack has it). */
const mark = (n: number): string => MARK + n.toString(2).replaceAll("0", " ").replaceAll("1", "\t");
