/** Frames and people in a few words, for the strip and the lists. */
import type { AnyFrame, Invite, NotificationUpdate, ReadyData, UnreadCount, UserRef } from "../client/index.ts";
import { DEMO_USERS } from "./users.ts";

/** A name as people write it. */
export const shown = ({ username }: UserRef): string => username.charAt(0).toUpperCase() + username.slice(1);

/** The name behind an id, where it is known. */
export function userOf(id: number | string): UserRef {
  return DEMO_USERS.find((user) => `${user.id}` === `${id}`) ?? { id: Number(id), username: `user ${id}` };
}

type Fields = Record<string, unknown> & { data: Record<string, unknown> };

const READ: Readonly<Record<string, (frame: Fields) => string>> = {
  ready: ({ data }) => {
    const { last_event_id, resume } = data as unknown as ReadyData;
    return resume === "live" ? `live from ${last_event_id}` : `resumed after ${last_event_id}`;
  },
  reset: ({ data }) => `start again at ${data.last_event_id}`,
  notification: ({ data }) => `${data.title}: ${data.message}`,
  invite_created: ({ invite }) => about(invite as Invite),
  invite_status: ({ invite }) => about(invite as Invite),
  new_message: ({ from_user, message }) =>
    `${shown(from_user as UserRef)}: ${(message as { content: string }).content}`,
  friend_request: ({ from_user }) => `from ${shown(from_user as UserRef)}`,
  friend_accepted: ({ from_user }) => `by ${shown(from_user as UserRef)}`,
  dm: ({ senderId }) => `from ${shown(userOf(senderId as number))}`,
  presence_update: ({ user_id, status }) => `${shown(userOf(user_id as number))} is ${status}`,
  chat_message: ({ data }) => `${shown(data.sender as UserRef)}: ${data.content}`,
  typing: ({ data }) => `${shown(data.user as UserRef)} ${data.is_typing ? "is typing" : "has stopped"}`,
  unread_count: ({ data }) => `${(data as unknown as UnreadCount).count} unread`,
  notification_update: ({ data }) => {
    const update = data as unknown as NotificationUpdate;
    return "up_to" in update ? `up to ${update.up_to} read` : `${update.notification_id} ${update.status}`;
  },
};

const about = ({ game, status, sender, receiver }: Invite): string =>
  `${game}, ${shown(sender)} to ${shown(receiver)}: ${status}`;

/** What a frame says, in one line. */
export function describe(frame: AnyFrame): string {
  const { type, id, more, ...rest } = frame as AnyFrame & { id?: number; more?: true };
  return READ[type]?.(frame as unknown as Fields) ?? JSON.stringify(rest);
}
