/** The frames of a stream as schemas, for the OpenAPI document and the tests that hold real frames against it. */
import { z } from "zod";
import { notification, timestamp, unreadCount } from "./schema.ts";

const id = z.number().int();
const userRef = z.object({ id, username: z.string() }).meta({ id: "UserRef" });
const stored = { id, more: z.literal(true).optional() };

export const inviteSchema: z.ZodType = z
  .object({
    id,
    game: z.string(),
    sender: userRef,
    receiver: userRef,
    status: z.enum(["pending", "accepted", "declined", "cancelled", "expired"]),
    created_at: timestamp,
    updated_at: timestamp,
    expires_at: timestamp.nullable(),
  })
  .meta({ id: "Invite" });

export const messageSchema: z.ZodType = z
  .object({ id, room_id: id, sender: userRef, content: z.string(), created_at: timestamp })
  .meta({ id: "Message" });

const frame = <T extends string>(type: T, shape: z.ZodRawShape): z.ZodObject =>
  z.object({ type: z.literal(type), ...shape });

const update = z.union([
  z.object({ notification_id: id, status: z.enum(["read", "unread", "archived", "delivered", "emailed"]) }),
  z.object({ up_to: id, type: z.string().optional(), room_id: id.optional(), status: z.literal("read") }),
]);

/** Every frame that the server itself makes; a producer's events have a `type` of their own. */
export const frameSchemas: Readonly<Record<string, z.ZodObject>> = {
  ready: frame("ready", {
    data: z.object({
      user_id: z.union([z.string(), z.number()]),
      last_event_id: id,
      unread_count: id,
      resume: z.enum(["live", "complete", "reset"]),
      heartbeat_seconds: z.number(),
      room_id: id.optional(),
    }),
  }),
  reset: frame("reset", { data: z.object({ last_event_id: id }) }),
  notification: frame("notification", {
    ...stored,
    data: notification,
    notification: notification.optional(),
    archived: z.literal(true).optional(),
  }),
  invite_created: frame("invite_created", { ...stored, invite: inviteSchema }),
  invite_status: frame("invite_status", { ...stored, invite: inviteSchema }),
  new_message: frame("new_message", {
    ...stored,
    from_user: userRef,
    message: z.object({ id, content: z.string() }),
    room_id: id,
  }),
  friend_request: frame("friend_request", { ...stored, from_user: userRef }),
  friend_accepted: frame("friend_accepted", { ...stored, from_user: userRef }),
  dm: frame("dm", { senderId: id, message_id: id, timestamp }),
  presence_update: frame("presence_update", { user_id: id, status: z.enum(["online", "offline"]) }),
  chat_message: frame("chat_message", { data: messageSchema }),
  typing: frame("typing", { data: z.object({ room_id: id, user: userRef, is_typing: z.boolean() }) }),
  unread_count: frame("unread_count", { data: unreadCount }),
  notification_update: frame("notification_update", { data: update }),
  auth: frame("auth", { data: z.object({ expires_at: timestamp }) }),
  pong: frame("pong", {}),
  error: frame("error", { data: z.object({ code: z.string(), message: z.string() }) }),
};

/** Any frame of the list above. */
export const anyFrame: z.ZodType = z
  .union(Object.values(frameSchemas) as unknown as [z.ZodObject, z.ZodObject])
  .meta({ id: "Frame" });
