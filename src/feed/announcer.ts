/** NOTIFY as an outlet: what one instance reads from the WAL is announced to all, many envelopes at a time. */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import { EVERYONE, SWEEP } from "./ear.ts";
import { type Load, type Outlet, SEEN, split } from "./queue.ts";

/** Postgres takes 7,999 bytes. Two of them are the brackets of an array. */
const MOST_NOTIFY_BYTES = 7_900;
export const MOST_BYTES: number = MOST_NOTIFY_BYTES - 2;

const encoder = new TextEncoder();
const buffer = new Uint8Array(MOST_NOTIFY_BYTES);

/** @param connection the LISTEN connection; one of the pool while there is none */
export function createAnnouncer(connection: () => Sql): Outlet {
  /** Null, or the snapshot in which not all was seen: then nothing was announced. */
  async function announce(loads: readonly Load[]): Promise<string | null> {
    const messages = loads.flatMap((load) => load.messages);
    const envelopes = messages.filter(({ group }) => group !== EVERYONE).map(({ text }) => text);
    // sweeps are no envelopes
    const texts = [...pack(envelopes), ...(envelopes.length < messages.length ? [SWEEP] : [])];
    const xids = `{${loads.map(({ xid }) => xid).filter((xid) => xid !== SEEN)}}`;
    // no JSON text holds a line break
    const [row] = await connection()<{ unseen: string | null }[]>`
      select tidings.announce_decoded(${xids}::text::bigint[], ${texts.join("\n")}) as unseen`;
    return row!.unseen;
  }
  return {
    up: true,
    async hand(loads) {
      const snapshot = await announce(loads);
      if (snapshot === null) return [];
      const [seen, unseen] = split(loads, snapshot);
      // a snapshot never sees less than the one before
      if (seen.length > 0 && (await announce(seen)) !== null) throw new TidingsError("database", "A commit went away.");
      return unseen;
    },
  };
}

/** Into as few arrays as fit a NOTIFY, in order. */
function pack(envelopes: readonly string[]): string[] {
  const texts: string[] = [];
  let first = 0;
  let size = 1;
  for (const [at, envelope] of envelopes.entries()) {
    const more = encoder.encodeInto(envelope, buffer).written + 1;
    if (size + more > MOST_NOTIFY_BYTES) {
      texts.push(`[${envelopes.slice(first, at).join()}]`);
      first = at;
      size = 1;
    }
    size += more;
  }
  if (first < envelopes.length) texts.push(`[${envelopes.slice(first).join()}]`);
  return texts;
}
