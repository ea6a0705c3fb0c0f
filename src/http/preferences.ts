/** `GET` and `PUT /api/preferences`: per notification type `{stream, email, mute}`; PUT replaces, anything else is 422. */
import { Hono } from "hono";
import { z } from "zod";
import type { Preferences } from "../db/preferences.ts";
import type { Env } from "./env.ts";
import { check, route, text } from "./schema.ts";

const TAG = "preferences";
/** A user with more types than this is a mistake, or an attack. */
const MOST_TYPES = 200;

const wish = z.strictObject({
  stream: z.boolean().default(true),
  email: z.boolean().default(false),
  mute: z.boolean().default(false),
});

const wishes = z
  .record(text(255, 1), wish)
  .refine((all) => Object.keys(all).length <= MOST_TYPES, `must not have more than ${MOST_TYPES} types`);

export function preferenceRoutes(preferences: Preferences): Hono<Env> {
  const app = new Hono<Env>();
  app.get("/preferences", route("What the user wants of each notification type", TAG, 200, wishes), async (c) =>
    c.json(await preferences.read(c.get("identity").userId)),
  );
  app.put("/preferences", route("Replaces them", TAG, 200, wishes), check("json", wishes), async (c) =>
    c.json(await preferences.replace(c.get("identity").userId, c.req.valid("json"))),
  );
  return app;
}
