/**
 * One-time tickets: 30 seconds, one use, on whichever instance the client reaches first (CONTRACT section 6).
 * Only a hash is stored, so a read of the table gives nobody a ticket.
 */
import type { Sql } from "./client.ts";

export const TICKET_SECONDS = 30;

export interface Tickets<Identity> {
  issue(identity: Identity): Promise<string>;
  /** The identity it was bought with; null where it is unknown, used or expired. */
  redeem(ticket: string): Promise<Identity | null>;
}

export function createTickets<Identity extends object>(sql: Sql): Tickets<Identity> {
  return {
    async issue(identity) {
      const ticket = text(crypto.getRandomValues(new Uint8Array(24)));
      await sql`insert into tidings.ticket (hash, identity, expires_at)
        values (${await digest(ticket)}, ${JSON.stringify(identity)}::text::jsonb, clock_timestamp() + ${TICKET_SECONDS} * interval '1 second')`;
      return ticket;
    },
    async redeem(ticket) {
      if (ticket.length > 64) return null;
      const [row] = await sql<{ identity: Identity }[]>`
        delete from tidings.ticket where hash = ${await digest(ticket)} and expires_at > clock_timestamp() returning identity`;
      return row?.identity ?? null;
    },
  };
}

async function digest(ticket: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket)));
}

function text(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
