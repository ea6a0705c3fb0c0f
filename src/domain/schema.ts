/** The domain's things as zod schemas, for checking requests and for the OpenAPI document. */
import { z } from "zod";
import { idText, limit, text, timestamp } from "../http/schema.ts";
import { MAX_CONTENT } from "../protocol/client_frame.ts";

const id: z.ZodNumber = z.number().int();

export const userRef: z.ZodType = z.object({ id, username: z.string() }).meta({ id: "UserRef" });

export const inviteStatus: z.ZodEnum<{
  pending: "pending";
  accepted: "accepted";
  declined: "declined";
  cancelled: "cancelled";
  expired: "expired";
}> = z.enum(["pending", "accepted", "declined", "cancelled", "expired"]);

export const taskStatus: z.ZodEnum<{
  todo: "todo";
  in_progress: "in_progress";
  done: "done";
  cancelled: "cancelled";
}> = z.enum(["todo", "in_progress", "done", "cancelled"]);

export const roomKind: z.ZodEnum<{ direct: "direct"; task: "task"; group: "group" }> = z.enum([
  "direct",
  "task",
  "group",
]);

export const invite: z.ZodType = z
  .object({
    id,
    game: z.string(),
    sender: userRef,
    receiver: userRef,
    status: inviteStatus,
    created_at: timestamp,
    updated_at: timestamp,
    expires_at: timestamp.nullable(),
  })
  .meta({ id: "Invite" });

export const message: z.ZodType = z
  .object({ id, room_id: id, sender: userRef, content: z.string(), created_at: timestamp })
  .meta({ id: "Message" });

export const room: z.ZodType = z
  .object({
    id,
    kind: roomKind,
    name: z.string().nullable(),
    task_id: id.nullable(),
    creator: userRef.nullable(),
    member_count: id,
    members: z.array(userRef),
  })
  .meta({ id: "Room" });

export const task: z.ZodType = z
  .object({
    id,
    title: z.string(),
    creator: userRef,
    assignee: userRef.nullable(),
    status: taskStatus,
    status_reason: z.string().nullable(),
    due_at: timestamp.nullable(),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: "Task" });

export const attachment: z.ZodType = z
  .object({
    id,
    task_id: id,
    name: z.string(),
    url: z.string(),
    uploader: userRef.nullable(),
    created_at: timestamp,
  })
  .meta({ id: "Attachment" });

export const friend: z.ZodType = z
  .object({ id, username: z.string(), friend_status: z.enum(["online", "offline"]) })
  .meta({ id: "Friend" });

export const friendRequest: z.ZodType = z
  .object({
    id,
    from_user: userRef,
    to_user: userRef,
    status: z.enum(["pending", "accepted", "declined"]),
    created_at: timestamp,
    updated_at: timestamp,
  })
  .meta({ id: "FriendRequest" });

/** Text of a message: not blank, at most 4,000 characters (not UTF-16 units: an emoji is one). */
export const content: z.ZodString = text(2 * MAX_CONTENT, 1)
  .refine((value) => value.trim() !== "", "must not be blank")
  .refine((value) => [...value].length <= MAX_CONTENT, `must have at most ${MAX_CONTENT} characters`);

/** A line of text that is more than blanks. */
export const line = (most: number): z.ZodString =>
  text(most, 1).refine((value) => value.trim() !== "", "must not be blank");

/** The query of every list. */
export const pageQuery: z.ZodObject<{ before: z.ZodOptional<typeof idText>; limit: typeof limit }> = z.object({
  before: idText.optional(),
  limit,
});
