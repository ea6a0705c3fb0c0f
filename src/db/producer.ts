/**
 * Publishing from TypeScript: a thin call of the SQL functions of CONTRACT section 7 and nothing else, so that a
 * program and a trigger cannot differ. Failures are logged with the user and rethrown.
 */
import type { Sql } from "./client.ts";

export interface NewNotification {
  title?: string | undefined;
  message?: string | undefined;
  type?: string | undefined;
  data?: Record<string, unknown> | undefined;
  event?: Record<string, unknown> | undefined;
  /** The same key for the same user is stored once. */
  key?: string | undefined;
}

export type UserId = string | number;

export interface Producer {
  /** A transient event to a user's open streams. */
  notifyUser(userId: UserId, payload: Record<string, unknown>): Promise<void>;
  /** A transient event to each of these users, in one transaction. */
  notifyUsers(userIds: readonly UserId[], payload: Record<string, unknown>): Promise<void>;
  /** A transient event to a group such as `room_7`. Returns how many members it has. */
  notifyGroup(group: string, payload: Record<string, unknown>): Promise<number>;
  /** A stored entry for one user. */
  sendNotification(userId: UserId, data: NewNotification): Promise<void>;
  /** A stored entry for each of these users; null: everybody who has an inbox. Returns for how many, where known. */
  broadcast(userIds: readonly UserId[] | null, data: NewNotification): Promise<void>;
  /** A stored entry for each member of a group. Returns for how many. */
  sendToGroup(group: string, data: NewNotification): Promise<number>;
}

/** @param log told of every failure, with the recipient and the cause, never with content */
export function createProducer(sql: Sql, log: (text: string, fields: Record<string, unknown>) => void): Producer {
  async function attempt<T>(recipient: Record<string, unknown>, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (cause) {
      log("Failed to send notification", {
        ...recipient,
        cause: cause instanceof Error ? cause.message : String(cause),
      });
      throw cause;
    }
  }
  const json = (value: unknown) => (value === undefined ? null : JSON.stringify(value));
  const rest = ({ title, message, type, data, event, key }: NewNotification) => sql`${title ?? null}::text,
    ${message ?? null}::text, ${type ?? null}::text, ${json(data) ?? "{}"}::text::jsonb, ${json(event)}::text::jsonb, ${key ?? null}::text`;

  return {
    notifyUser: (userId, payload) =>
      attempt({ user_id: userId }, async () => {
        await sql`select tidings.notify_user(${String(userId)}::text, ${json(payload)}::text::jsonb)`;
      }),
    notifyUsers: (userIds, payload) =>
      attempt({ user_id: userIds }, async () => {
        await sql`select tidings.notify_user(u, ${json(payload)}::text::jsonb) from unnest(${userIds.map(String)}::text[]) u`;
      }),
    notifyGroup: (group, payload) =>
      attempt({ group }, async () => {
        const [row] = await sql<{ members: number }[]>`
          select tidings.notify_group(${group}::text, ${json(payload)}::text::jsonb),
            cardinality(tidings.group_members(tidings.canonical_group(${group}::text))) as members`;
        return row!.members;
      }),
    sendNotification: (userId, data) =>
      attempt({ user_id: userId }, async () => {
        await sql`select tidings.send_notification(${String(userId)}::text, ${rest(data)})`;
      }),
    broadcast: (userIds, data) =>
      attempt({ user_id: userIds ?? "all" }, async () => {
        await sql`select tidings.broadcast(${userIds?.map(String) ?? null}::text[], ${rest(data)})`;
      }),
    sendToGroup: (group, data) =>
      attempt({ group }, async () => {
        const [row] = await sql<{ members: string[] }[]>`
          select tidings.group_members(tidings.canonical_group(${group}::text)) as members`;
        await sql`select tidings.broadcast(${row!.members}::text[], ${rest(data)})`;
        return row!.members.length;
      }),
  };
}
