/**
 * Reads one message of a client (CONTRACT section 4): text in, a checked frame or an `error` out. Pure.
 * Unknown fields are ignored; an unknown `type`, a wrong field, binary, or more than 4 KiB is refused with a
 * message that says what would have been right. Nothing the client sent is repeated in it, so no token is.
 */
import type { ClientFrame } from "./frames.ts";

/** The two kinds of stream, which understand different frames. */
export type StreamKind = "notifications" | "chat";

export type ParsedFrame =
  | { readonly ok: true; readonly frame: ClientFrame | { readonly type: "bare_ping" } }
  | { readonly ok: false; readonly code: "bad_request" | "invalid" | "too_large"; readonly message: string };

/** The largest message understood, in bytes of UTF-8. */
export const MAX_FRAME_BYTES = 4096;

/** The longest chat message, in characters; the same bound as over REST. */
export const MAX_CONTENT = 4000;

const TYPES: Readonly<Record<StreamKind, readonly ClientFrame["type"][]>> = {
  notifications: ["ping", "get_unread_count", "mark_read", "mark_all_read", "auth"],
  chat: ["ping", "chat_message", "typing", "auth"],
};

const encoder = new TextEncoder();

/** Parses one message. `null` stands for a binary one. */
export function parseClientFrame(text: string | null, kind: StreamKind): ParsedFrame {
  if (text === null) return refuse("bad_request", "Binary messages are not understood: send JSON text.");
  if (isTooLarge(text)) return refuse("too_large", `A message may have at most ${MAX_FRAME_BYTES} bytes.`);
  if (text.trim() === "ping") return { ok: true, frame: { type: "bare_ping" } };
  const value = parseObject(text);
  if (!value) return refuse("bad_request", 'Send one JSON object with a "type".');
  const type = TYPES[kind].find((known) => known === value.type);
  if (!type) return refuse("bad_request", `"type" must be one of ${TYPES[kind].join(", ")} on this stream.`);
  return readers[type](value);
}

type Fields = Readonly<Record<string, unknown>>;

const readers: Readonly<Record<ClientFrame["type"], (fields: Fields) => ParsedFrame>> = {
  ping: () => accept({ type: "ping" }),
  get_unread_count: () => accept({ type: "get_unread_count" }),
  mark_all_read: () => accept({ type: "mark_all_read" }),
  mark_read({ notification_id }) {
    const id = toId(notification_id);
    if (id === null) return refuse("invalid", '"notification_id" must be the id of a notification, a whole number.');
    return accept({ type: "mark_read", notification_id: id });
  },
  auth({ token }) {
    if (typeof token !== "string" || token === "") return refuse("invalid", '"token" must be a token, as text.');
    return accept({ type: "auth", token });
  },
  chat_message({ content }) {
    const problem = contentProblem(content);
    return problem ? refuse("invalid", problem) : accept({ type: "chat_message", content: content as string });
  },
  typing({ is_typing }) {
    if (typeof is_typing !== "boolean") return refuse("invalid", '"is_typing" must be true or false.');
    return accept({ type: "typing", is_typing });
  },
};

function accept(frame: ClientFrame): ParsedFrame {
  return { ok: true, frame };
}

function refuse(code: "bad_request" | "invalid" | "too_large", message: string): ParsedFrame {
  return { ok: false, code, message };
}

/** A UTF-16 unit is at most three bytes of UTF-8, so that most messages are settled by their length. */
function isTooLarge(text: string): boolean {
  if (text.length > MAX_FRAME_BYTES) return true;
  return text.length * 3 > MAX_FRAME_BYTES && encoder.encode(text).length > MAX_FRAME_BYTES;
}

function parseObject(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : null;
  } catch {
    return null;
  }
}

function toId(value: unknown): number | null {
  const id = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  return typeof id === "number" && Number.isSafeInteger(id) && id > 0 ? id : null;
}

/** Postgres can store neither NUL nor half a surrogate pair: refused here, where the client can still be told why. */
function contentProblem(content: unknown): string | null {
  if (typeof content !== "string" || content.trim() === "") return '"content" must be text, and not empty.';
  if (content.length > MAX_CONTENT && [...content].length > MAX_CONTENT) {
    return `"content" may have at most ${MAX_CONTENT} characters.`;
  }
  if (content.includes("\0")) return '"content" must not contain the character NUL.';
  if (/\p{Surrogate}/u.test(content)) return '"content" must not contain half of a surrogate pair.';
  return null;
}
