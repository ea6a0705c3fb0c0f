/** REST over the inbox (CONTRACT section 8): the snapshot, the list, counts and read state. Parse, call, answer. */
import { Hono } from "hono";
import { z } from "zod";
import type { Inbox } from "../db/inbox.ts";
import { TidingsError } from "../errors.ts";
import type { Env } from "./env.ts";
import {
  check,
  flag,
  idNumber,
  idParam,
  idText,
  limit,
  notification,
  page,
  route,
  text,
  unreadCount,
} from "./schema.ts";

const TAG = "inbox";

const listQuery = z.object({
  unread: flag.optional(),
  type: text(255, 1).optional(),
  before: idText.optional(),
  limit,
});

const readAll = z.strictObject({
  up_to: z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER).optional(),
  type: text(255, 1).optional(),
  room_id: idNumber.optional(),
});

const snapshot = z.object({
  notifications: z.array(notification),
  unread_count: z.number().int(),
  by_type: z.record(z.string(), z.number().int()),
  pending_invites: z.array(z.unknown()),
  friend_requests: z.array(z.unknown()),
  friends: z.array(z.unknown()),
  last_event_id: z.number().int(),
});

export function inboxRoutes(inbox: Inbox): Hono<Env> {
  const app = new Hono<Env>();

  app.get(
    "/inbox",
    route("Everything a client needs after a reconnect, in one snapshot", TAG, 200, snapshot),
    async (c) => c.json(await inbox.snapshot(c.get("identity").userId)),
  );
  app.get(
    "/notifications",
    route("The notifications, newest first", TAG, 200, page(notification)),
    check("query", listQuery),
    async (c) => c.json(await inbox.list(c.get("identity").userId, c.req.valid("query"))),
  );
  app.get(
    "/notifications/unread_count",
    route("Unread notifications, in all and by type", TAG, 200, unreadCount),
    async (c) => c.json(await inbox.unread(c.get("identity").userId)),
  );
  app.post(
    "/notifications/read_all",
    route("Reads everything, or what the filter names", TAG, 200, z.object({ updated: z.number().int() })),
    check("json", readAll),
    async (c) => {
      const { up_to: upTo, type, room_id: roomId } = c.req.valid("json");
      return c.json({ updated: await inbox.markAllRead(c.get("identity").userId, { upTo, type, roomId }) });
    },
  );
  for (const [path, status] of [
    ["read", "read"],
    ["unread", "unread"],
  ] as const) {
    app.post(
      `/notifications/:id/${path}`,
      route(`Marks a notification ${status}`, TAG, 200, notification),
      check("param", idParam),
      async (c) => c.json(await mark(c.get("identity").userId, c.req.valid("param").id, status)),
    );
  }
  app.delete(
    "/notifications/:id",
    route("Archives a notification: it leaves list and count", TAG, 204),
    check("param", idParam),
    async (c) => {
      await mark(c.get("identity").userId, c.req.valid("param").id, "archived");
      return c.body(null, 204);
    },
  );
  return app;

  async function mark(
    userId: string,
    id: number,
    status: "read" | "unread" | "archived",
  ): Promise<Record<string, unknown>> {
    const marked = await inbox.mark(userId, id, status);
    if (!marked) throw new TidingsError("not_found", `You have no notification ${id}.`);
    return marked;
  }
}
