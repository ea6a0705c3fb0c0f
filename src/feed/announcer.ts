/** NOTIFY as an outlet: what one instance reads from the WAL is announced to all, many envelopes at a time. */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import { EVERYONE, SWEEP } from "./ear.ts";
import type { Outlet } from "./publisher.ts";

/** Postgres takes 7,999 bytes. Two of them are the brackets of an array. */
const MOST_NOTIFY_BYTES = 7_900;
export const MOST_BYTES: number = MOST_NOTIFY_BYTES - 2;
/** NOTIFYs of one statement: a transaction that is not too long. */
const PIECE = 100;

const encoder = new TextEncoder();
const buffer = new Uint8Array(MOST_NOTIFY_BYTES);

/** @param connection the LISTEN connection; one of the pool while there is none */
export function createAnnouncer(connection: () => Sql): Outlet {
  return {
    up: true,
    async publish(messages) {
      const envelopes = messages.filter(({ group }) => group !== EVERYONE).map(({ text }) => text);
      // sweeps are no envelopes
      const texts = [...pack(envelopes), ...(envelopes.length < messages.length ? [SWEEP] : [])];
      for (let at = 0; at < texts.length; at += PIECE) {
        // no JSON text holds a line break
        const lines = texts.slice(at, at + PIECE).join("\n");
        const [row] = await connection()<{ done: boolean }[]>`select tidings.announce_decoded(${lines}) as done`;
        if (!row!.done) throw new TidingsError("unavailable", "The NOTIFY queue is full: a listener does not read.");
      }
      return [];
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
