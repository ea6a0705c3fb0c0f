/** REST over rooms and their messages (CONTRACT section 8). Parse, call, answer. */
import { Hono } from "hono";
import { z } from "zod";
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Env } from "../http/env.ts";
import { check, idNumber, idParam, idText, page, route } from "../http/schema.ts";
import { callerOf } from "./caller.ts";
import { createMessages } from "./messages.ts";
import { createRooms } from "./rooms.ts";
import { content, line, message, pageQuery, room, roomKind } from "./schema.ts";

/** The most users one request adds to a room. */
const MAX_MEMBERS = 1_000;

const memberIds = z.array(idNumber).max(MAX_MEMBERS);
const newRoom = z.strictObject({
  kind: roomKind,
  name: line(200).optional(),
  member_ids: memberIds.default([]),
  task_id: idNumber.optional(),
});
const newMembers = z
  .strictObject({ user_id: idNumber.optional(), user_ids: memberIds.min(1).optional() })
  .refine((body) => (body.user_id === undefined) !== (body.user_ids === undefined), "give user_id or user_ids");

export function roomRoutes(sql: Sql): Hono<Env> {
  const app = new Hono<Env>();
  const rooms = createRooms(sql);
  app.get(
    "/rooms",
    route("The rooms you are in, newest first", "rooms", 200, page(room)),
    check("query", pageQuery),
    async (c) => c.json(await rooms.list(callerOf(c.get("identity").userId), c.req.valid("query"))),
  );
  app.post(
    "/rooms",
    route("Makes a room; you are a member of it", "rooms", 201, room),
    check("json", newRoom),
    async (c) => {
      const { kind, name, member_ids: memberIds, task_id: taskId } = c.req.valid("json");
      return c.json(await rooms.make(callerOf(c.get("identity").userId), { kind, name, memberIds, taskId }), 201);
    },
  );
  app.post(
    "/rooms/:id/members",
    route("Adds user_id, or each of user_ids, to a room", "rooms", 200, room),
    check("param", idParam),
    check("json", newMembers),
    async (c) => {
      const { user_id: one, user_ids: many = [one!] } = c.req.valid("json");
      return c.json(await rooms.addMembers(callerOf(c.get("identity").userId), c.req.valid("param").id, many));
    },
  );
  app.delete(
    "/rooms/:id/members",
    route("Leaves a room, or removes user_id (in the query or the body) from it", "rooms", 204),
    check("param", idParam),
    check("query", z.object({ user_id: idText.optional() })),
    check("json", z.strictObject({ user_id: idNumber.optional() })),
    async (c) => {
      const { user_id: asked } = c.req.valid("query");
      const { user_id: userId = asked } = c.req.valid("json");
      if (asked !== undefined && asked !== userId) {
        throw new TidingsError("invalid", "user_id: query and body name different users.");
      }
      await rooms.removeMember(callerOf(c.get("identity").userId), c.req.valid("param").id, userId);
      return c.body(null, 204);
    },
  );
  return app;
}

export function messageRoutes(sql: Sql): Hono<Env> {
  const app = new Hono<Env>();
  const messages = createMessages(sql);
  app.get(
    "/rooms/:id/messages",
    route("The messages of a room, newest first", "messages", 200, page(message)),
    check("param", idParam),
    check("query", pageQuery),
    async (c) =>
      c.json(await messages.list(callerOf(c.get("identity").userId), c.req.valid("param").id, c.req.valid("query"))),
  );
  app.post(
    "/rooms/:id/messages",
    route("Writes a message to a room", "messages", 201, message),
    check("param", idParam),
    check("json", z.strictObject({ content })),
    async (c) => {
      const { content: written } = c.req.valid("json");
      const sent = await messages.post(callerOf(c.get("identity").userId), c.req.valid("param").id, written);
      return c.json(sent, 201);
    },
  );
  app.post(
    "/messages",
    route("Writes to another user, in the direct room with them", "messages", 201, message),
    check("json", z.strictObject({ to: idNumber, content })),
    async (c) => {
      const { to, content: written } = c.req.valid("json");
      return c.json(await messages.send(callerOf(c.get("identity").userId), to, written), 201);
    },
  );
  return app;
}
