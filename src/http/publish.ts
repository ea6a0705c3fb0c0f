/** `POST /api/publish` for services (scope `publish`): the SQL producer functions over HTTP (CONTRACT section 7). */
import { Hono } from "hono";
import { z } from "zod";
import type { Producer } from "../db/producer.ts";
import { TidingsError } from "../errors.ts";
import type { Env } from "./env.ts";
import { check, jsonObject, route, text } from "./schema.ts";

const userId = z.union([text(255, 1), z.number().int()]);
const RESERVED: ReadonlySet<unknown> = new Set(["ready", "reset", "pong", "error"]);

/** An event as a producer may send it (CONTRACT section 2). */
const event = jsonObject.refine(
  (value) =>
    typeof value.type === "string" &&
    value.type !== "" &&
    !RESERVED.has(value.type) &&
    !("id" in value) &&
    !("more" in value),
  "must have a type that is not ready, reset, pong or error, and neither id nor more",
);

const publication = z.strictObject({
  to: z.union([userId, z.array(userId).min(1).max(100_000), z.strictObject({ group: text(300, 1) })]),
  /** A transient event; without it the rest makes a stored entry. */
  payload: event.optional(),
  title: text(1_000).optional(),
  message: text(10_000).optional(),
  type: text(255, 1).optional(),
  data: jsonObject.optional(),
  event: event.optional(),
  key: text(255, 1).optional(),
});

export function publishRoutes(producer: Producer): Hono<Env> {
  const app = new Hono<Env>();
  const answer = z.object({ recipients: z.number().int() });
  app.post(
    "/",
    route("Publishes to users or a group", "publish", 202, answer),
    check("json", publication),
    async (c) => {
      const { to, payload, ...entry } = c.req.valid("json");
      if (payload && Object.keys(entry).length > 0)
        throw new TidingsError("invalid", "payload is for transient events: leave the other fields out.");
      if (!payload && entry.message === undefined && !entry.event)
        throw new TidingsError("invalid", "message: give a message, an event or a payload.");
      const recipients = await publish(to, payload, entry).catch(badRecipient);
      return c.json({ recipients }, 202);
    },
  );
  return app;

  async function publish(
    to: z.output<typeof publication>["to"],
    payload: Record<string, unknown> | undefined,
    entry: Parameters<Producer["broadcast"]>[1],
  ): Promise<number> {
    if (typeof to === "object" && "group" in to) {
      return payload ? producer.notifyGroup(to.group, payload) : producer.sendToGroup(to.group, entry);
    }
    const users = [...new Set((Array.isArray(to) ? to : [to]).map(String))];
    if (payload) await producer.notifyUsers(users, payload);
    else await producer.broadcast(users, entry);
    return users.length;
  }
}

/** What the SQL functions refuse (22023) was the caller's mistake, and their text says which. */
function badRecipient(error: unknown): never {
  const { code, message } = error as { code?: string; message: string };
  if (code === "22023") throw new TidingsError("invalid", message.replace(/^tidings: /, ""), { cause: error });
  throw error;
}
