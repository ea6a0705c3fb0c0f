/**
 * A stored entry built from its columns as they come out of the WAL: the same as tidings.notification_json and
 * tidings.entry_envelope make of a row (CONTRACT sections 2 and 7). A row that was just inserted is unread and not archived.
 */

/** The columns of tidings.notification in Postgres' text form; null for SQL null. */
export type Columns = Readonly<Record<string, string | null>>;

export interface Stored {
  readonly userId: string;
  readonly id: number;
  /** JSON text, or null. */
  readonly event: string | null;
  /** The event's `type`; empty where there is none. */
  readonly eventType: string;
  /** The canonical notification as JSON text, or null. */
  readonly notification: string | null;
  /** False: the user had switched this type's stream off. */
  readonly streamed: boolean;
  /** UTC with six digits and Z. */
  readonly createdAt: string;
}

const CANONICAL = [
  ...["id", "notification_id", "title", "message", "notification_type"],
  ...["is_read", "created_at", "timestamp", "archived", "data"],
];
/** Postgres prints jsonb keys without escapes it does not need, so that none of these can hide. */
const MAY_HOLD_CANONICAL = new RegExp(`"(${CANONICAL.join("|")})"`);

export function storedOf(row: Columns): Stored {
  const id = Number(row.id);
  const createdAt = utc(row.created_at!);
  const event = row.event ?? null;
  return {
    userId: row.user_id!,
    id,
    event,
    // parsed for those who ask
    get eventType() {
      return event === null ? "" : String((JSON.parse(event) as { type?: unknown }).type);
    },
    notification: notificationOf(row, id, createdAt),
    streamed: row.streamed !== "f",
    createdAt,
  };
}

/** As on the channel `tidings`. */
export function envelopeOf({ userId, id, event, notification, streamed, createdAt }: Stored): string {
  const parts = [event && `"event":${event}`, notification && `"notification":${notification}`].filter(Boolean);
  const streamedOff = streamed ? "" : `,"streamed":false`;
  return `{"type":"notify","group":${JSON.stringify(`user_${userId}`)},"id":${id},"created_at":"${createdAt}"${streamedOff},"payload":{${parts.join(",")}}}`;
}

/** An envelope that names the entry only; its payload is read. */
export function briefEnvelopeOf({ userId, id }: Stored): string {
  return `{"type":"notify","group":${JSON.stringify(`user_${userId}`)},"id":${id}}`;
}

function notificationOf({ type, title, message, data }: Columns, id: number, createdAt: string): string | null {
  if (message === null || message === undefined) return null;
  const fields = data ?? "{}";
  return (
    `{"id":${id},"notification_id":${id},"title":${JSON.stringify(title ?? "")},"message":${JSON.stringify(message)},` +
    `"notification_type":${JSON.stringify(type)},"is_read":false,"created_at":"${createdAt}","timestamp":"${createdAt}",` +
    `"data":${fields}${extraFields(fields)}}`
  );
}

/** The producer's fields, to stand beside the canonical ones, which win. */
function extraFields(data: string): string {
  let text = data;
  if (MAY_HOLD_CANONICAL.test(data)) {
    const fields = JSON.parse(data) as Record<string, unknown>;
    for (const name of CANONICAL) delete fields[name];
    text = JSON.stringify(fields);
  }
  return text === "{}" ? "" : `,${text.slice(1, -1)}`;
}

/** From `2025-12-11 08:12:34.5+00`, which leaves zeros out. */
function utc(text: string): string {
  const [date, time] = text.split(" ") as [string, string];
  const [whole, digits = ""] = time.slice(0, time.indexOf("+")).split(".") as [string, string?];
  return `${date}T${whole}.${digits.padEnd(6, "0")}Z`;
}
