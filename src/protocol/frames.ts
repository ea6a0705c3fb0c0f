/**
 * The frames a server sends, identical JSON on WebSocket and SSE (CONTRACT sections 2 and 3).
 * Types only: nothing here runs, so the client pays no byte for it.
 */

/** A UTC timestamp with six digits and `Z`: `2025-12-11T08:12:34.123456Z`. */
export type Timestamp = string;

export interface UserRef {
  id: number;
  username: string;
}

export interface Invite {
  id: number;
  game: string;
  sender: UserRef;
  receiver: UserRef;
  status: "pending" | "accepted" | "declined" | "cancelled" | "expired";
  created_at: Timestamp;
  updated_at: Timestamp;
  expires_at: Timestamp | null;
}

export interface Message {
  id: number;
  room_id: number;
  sender: UserRef;
  content: string;
  created_at: Timestamp;
}

/** The canonical notification: the `data` of a notification frame and an item of the inbox list. */
export interface Notification {
  id: number;
  notification_id: number;
  title: string;
  message: string;
  notification_type: string;
  is_read: boolean;
  created_at: Timestamp;
  timestamp: Timestamp;
  /** The producer's extra fields, for routing in the client; they also stand beside the canonical ones. */
  data: Record<string, unknown>;
  archived?: true;
  [extra: string]: unknown;
}

export type Resume = "live" | "complete" | "reset";

export interface ReadyData {
  user_id: string | number;
  /** The cursor the stream starts from. */
  last_event_id: number;
  unread_count: number;
  resume: Resume;
  heartbeat_seconds: number;
  /** Only on chat streams. */
  room_id?: number;
}

export interface UnreadCount {
  count: number;
  by_type: Record<string, number>;
}

export type NotificationUpdate =
  | { notification_id: number; status: "read" | "unread" | "archived" | "delivered" | "emailed" }
  | { up_to: number; type?: string; room_id?: number; status: "read" };

/** What an entry's frames carry beside their own fields. `more`: another frame of the same entry follows. */
export interface Stored {
  id: number;
  more?: true;
}

export type Frame =
  | { type: "ready"; data: ReadyData }
  | { type: "reset"; data: { last_event_id: number } }
  | ({ type: "notification"; data: Notification; notification?: Notification; archived?: true } & Stored)
  | ({ type: "invite_created" | "invite_status"; invite: Invite } & Stored)
  | ({ type: "new_message"; from_user: UserRef; message: { id: number; content: string }; room_id: number } & Stored)
  | ({ type: "friend_request" | "friend_accepted"; from_user: UserRef } & Stored)
  | { type: "dm"; senderId: number; message_id: number; timestamp: Timestamp }
  | { type: "presence_update"; user_id: number; status: "online" | "offline" }
  | { type: "chat_message"; data: Message }
  | { type: "typing"; data: { room_id: number; user: UserRef; is_typing: boolean } }
  | { type: "unread_count"; data: UnreadCount }
  | { type: "notification_update"; data: NotificationUpdate }
  | { type: "auth"; data: { expires_at: Timestamp } }
  | { type: "pong" }
  | { type: "error"; data: { code: string; message: string } };

/** What a client may send over a WebSocket; the bare text `ping` is accepted too. */
export type ClientFrame =
  | { type: "ping" }
  | { type: "get_unread_count" }
  | { type: "mark_read"; notification_id: number | string }
  | { type: "mark_all_read" }
  | { type: "auth"; token: string }
  | { type: "chat_message"; content: string }
  | { type: "typing"; is_typing: boolean };
