/** REST over friends and invites (CONTRACT section 8). Parse, call, answer. */
import { Hono } from "hono";
import { z } from "zod";
import type { Sql } from "../db/client.ts";
import type { Env } from "../http/env.ts";
import { check, idNumber, idParam, page, route } from "../http/schema.ts";
import { callerOf } from "./caller.ts";
import { createFriends } from "./friends.ts";
import { createInvites } from "./invites.ts";
import { friend, friendRequest, invite, inviteStatus, line, pageQuery } from "./schema.ts";

/** The longest life of an invite, in seconds: ten years. */
const MAX_EXPIRY = 315_360_000;

const newInvite = z.strictObject({
  receiver_id: idNumber,
  game: line(200),
  expires_in: z.number().positive().max(MAX_EXPIRY).optional(),
});

export function friendRoutes(sql: Sql): Hono<Env> {
  const app = new Hono<Env>();
  const friends = createFriends(sql);
  app.get(
    "/friends",
    route("Your friends, and who of them is online", "friends", 200, page(friend)),
    check("query", pageQuery),
    async (c) => c.json(await friends.list(callerOf(c.get("identity").userId), c.req.valid("query"))),
  );
  app.post(
    "/friends/requests",
    route("Asks somebody to be your friend", "friends", 201, friendRequest),
    check("json", z.strictObject({ to: idNumber })),
    async (c) => c.json(await friends.request(callerOf(c.get("identity").userId), c.req.valid("json").to), 201),
  );
  for (const action of ["accept", "decline"] as const) {
    app.post(
      `/friends/requests/:id/${action}`,
      route(`Answers a friend request: ${action}`, "friends", 200, friendRequest),
      check("param", idParam),
      async (c) => c.json(await friends.answer(callerOf(c.get("identity").userId), c.req.valid("param").id, action)),
    );
  }
  return app;
}

export function inviteRoutes(sql: Sql): Hono<Env> {
  const app = new Hono<Env>();
  const invites = createInvites(sql);
  app.get(
    "/invites",
    route("Invites you sent or received, newest first", "invites", 200, page(invite)),
    check("query", pageQuery.extend({ status: z.union([inviteStatus, z.literal("")]).optional() })),
    async (c) => {
      const { status, ...query } = c.req.valid("query");
      return c.json(await invites.list(callerOf(c.get("identity").userId), { ...query, status: status || undefined }));
    },
  );
  app.post(
    "/invites",
    route("Invites somebody to a game; expires_in is in seconds", "invites", 201, invite),
    check("json", newInvite),
    async (c) => {
      const { receiver_id: receiverId, game, expires_in: expiresIn } = c.req.valid("json");
      const sent = await invites.send(callerOf(c.get("identity").userId), { receiverId, game, expiresIn });
      return c.json(sent, 201);
    },
  );
  for (const action of ["accept", "decline", "cancel"] as const) {
    app.post(
      `/invites/:id/${action}`,
      route(`Settles a pending invite: ${action}`, "invites", 200, invite),
      check("param", idParam),
      async (c) => c.json(await invites.settle(callerOf(c.get("identity").userId), c.req.valid("param").id, action)),
    );
  }
  return app;
}
