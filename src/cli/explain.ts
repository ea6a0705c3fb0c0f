/** `tidings explain USER ID`: what became of one entry, in plain words. */
import process from "node:process";
import { type Command, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

export const command: Command = {
  usage: "USER ID",
  about:
    "Tells what became of a user's notification: who produced it, when it was committed, whether a stream got it, when it was\n" +
    "read, and whether it was e-mailed or why not.",
  options: { json: { help: "as one JSON object" } },
  async run(input) {
    const [user, id, ...more] = input.words;
    if (!user || !/^[1-9]\d{0,15}$/.test(id ?? "") || more.length > 0)
      throw new UsageError("it takes a user id and an id.");
    const found = await withDatabase(async (sql) => {
      const [row] = await sql<{ fate: Fate }[]>`select tidings.explain(${user}::text, ${Number(id)}::bigint) as fate`;
      return row!.fate;
    });
    const lines = input.is("json") ? [JSON.stringify(found)] : [`User ${user}, entry ${id}`, ...tell(found)];
    process.stdout.write(`${lines.join("\n  ")}\n`);
    return found.state === "stored" ? 0 : 1;
  },
};

interface Mail {
  state: "pending" | "sending" | "sent" | "cancelled" | "unknown" | "dead";
  attempts: number;
  next_at: string;
  first_try: boolean;
  sent_at: string | null;
  message_id: string | null;
  last_error: string | null;
}

interface Stored {
  state: "stored";
  last_id: number;
  type: string;
  title: string | null;
  message: string | null;
  event: { type: string } | null;
  actor: string | null;
  key: string | null;
  committed_at: string;
  streamed: boolean;
  delivered: boolean;
  delivered_id: number;
  open_streams_on: number;
  is_read: boolean;
  read_at: string | null;
  archived_at: string | null;
  preference: { stream: boolean; email: boolean; mute: boolean };
  email: Mail | null;
}

interface Absent {
  state: "pruned" | "future" | "missing";
  last_id: number;
  floor_id: number;
}

type Fate = Stored | Absent;

function absence({ state, last_id, floor_id }: Absent): string {
  if (state === "pruned") return `pruned: retention has removed everything up to ${floor_id}`;
  if (state === "future") return `not there yet: the newest entry of this user is ${last_id}`;
  return "missing: somebody deleted it by hand; tidings doctor --fix moves the floor there";
}

/** The fate of an entry, a line for each thing there is to tell. */
function tell(fate: Fate): string[] {
  if (fate.state !== "stored") return [absence(fate)];
  const { title, message, event, actor, key, type } = fate;
  const shown =
    message === null ? "no notification, an event alone" : JSON.stringify(`${title ? `${title}: ` : ""}${message}`);
  return [
    `what       ${type}, ${shown}${event ? `, with the event ${event.type}` : ""}`,
    `producer   ${actor ? `actor ${actor}` : "unknown: no tidings.actor was set"}${key ? `, key ${JSON.stringify(key)}` : ""}`,
    `committed  ${fate.committed_at}`,
    `stream     ${delivery(fate)}`,
    ...(message === null ? [] : [`read       ${reading(fate)}`, `e-mail     ${mailing(fate)}`]),
  ];
}

function delivery({ streamed, delivered, delivered_id, open_streams_on }: Stored): string {
  if (!streamed) return "not sent: the user had switched streams off for this type";
  if (delivered) return `delivered to at least one stream (watermark ${delivered_id})`;
  const now = open_streams_on > 0 ? `streams are open on ${open_streams_on} instances` : "no stream is open";
  return `not delivered yet (watermark ${delivered_id}; ${now})`;
}

function reading({ is_read, read_at, archived_at }: Stored): string {
  const read = is_read ? `read ${read_at ?? "at an unknown time"}` : "unread";
  return archived_at ? `${read}, archived ${archived_at}` : read;
}

function mailing({ email, preference }: Stored): string {
  if (email === null) {
    return preference.email
      ? "none: the user asked for e-mail of this type later, or the type was muted"
      : "none: the user has not asked for e-mail of this type";
  }
  const error = email.last_error ? `: ${email.last_error}` : "";
  switch (email.state) {
    case "sent":
      return `sent ${email.sent_at} (attempt ${email.attempts}, Message-ID ${email.message_id})`;
    case "pending":
      return email.first_try
        ? "waits for its delay; reading it before cancels it"
        : `to be tried again at ${email.next_at} after ${email.attempts} attempts${error}`;
    case "sending":
      return `being sent (attempt ${email.attempts})`;
    case "unknown":
      return `it cannot be told whether it was sent${error}; tidings email retry may send it twice`;
    default:
      return `${email.state} after ${email.attempts} attempts${error}`;
  }
}
