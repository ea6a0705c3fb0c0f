/**
 * A stored entry on its way over the bus, from the relay to the instances that have streams for it. Not JSON around
 * JSON: its parts stand side by side with their lengths in front, so that they are cut out and sent on as they are,
 * where parsing them and writing them again was most of what an instance did for an entry. Only relays write to the
 * bus, so that the parts are JSON is taken for granted; of what comes by NOTIFY, which anybody may send, it is not
 * (envelope.ts).
 */
import type { Stored } from "./stored.ts";

/** No JSON begins with it. */
const MARK = "=";

/** Numbers and the time on one line, then user, event type, event and notification without anything between them. */
export function relayedOf({ userId, id, event, eventType, notification, streamed, createdAt }: Stored): string {
  const lengths = `${userId.length} ${eventType.length} ${event?.length ?? 0}`;
  const head = `${MARK}${id} ${createdAt} ${streamed ? 1 : 0} ${lengths}\n`;
  return `${head}${userId}${eventType}${event ?? ""}${notification ?? ""}`;
}

/** Null for what is no such text: envelopes. */
export function parseRelayed(text: string): Stored | null {
  if (!text.startsWith(MARK)) return null;
  const head = text.indexOf("\n");
  const [id, createdAt, streamed, ...lengths] = text.slice(MARK.length, head).split(" ");
  if (!Number.isSafeInteger(Number(id || Number.NaN))) return null;
  const [user, type, event] = lengths.map(Number) as [number, number, number];
  const [afterUser, afterType] = [head + 1 + user, head + 1 + user + type];
  const notification = text.slice(afterType + event);
  return {
    userId: text.slice(head + 1, afterUser),
    id: Number(id),
    event: event > 0 ? text.slice(afterType, afterType + event) : null,
    eventType: text.slice(afterUser, afterType),
    notification: notification === "" ? null : notification,
    streamed: streamed === "1",
    createdAt: createdAt!,
  };
}
