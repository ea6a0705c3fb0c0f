/**
 * What travels over Postgres NOTIFY on the channel `tidings` (CONTRACT section 7): one envelope or an array of them.
 * Postgres has no privilege for NOTIFY: whoever may connect to the database may write here. So nothing is trusted to be
 * well-formed; that it is true is as trusted as the database's accounts are.
 */

export type Envelope =
  /** A stored entry (`id`), its payload left out where it did not fit; or a transient event (`payload` or `parcel`). */
  | {
      type: "notify";
      group: string;
      id?: number;
      created_at?: string;
      streamed?: false;
      payload?: Record<string, unknown>;
      parcel?: number;
    }
  /** The user's tokens were revoked: its streams end. */
  | { type: "revoke"; group: string }
  /** The user is no longer a member of the room: its chat streams on it end. */
  | { type: "leave"; group: string; user_id: string }
  /** Something was written that falls due at `at`. */
  | { type: "schedule"; group: string; at?: string };

function isEnvelope(value: unknown): value is Envelope {
  if (typeof value !== "object" || value === null) return false;
  const { type, group, id, payload } = value as Record<string, unknown>;
  if (typeof group !== "string") return false;
  if (type === "revoke" || type === "leave" || type === "schedule") return true;
  if (type !== "notify") return false;
  if (id !== undefined && !Number.isSafeInteger(id)) return false;
  return payload === undefined || (typeof payload === "object" && payload !== null);
}

/** The envelopes of one NOTIFY, in order; what is none is left out. Throws nothing. */
export function parseEnvelopes(text: string): Envelope[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return [];
  }
  return (Array.isArray(parsed) ? parsed : [parsed]).filter(isEnvelope);
}
