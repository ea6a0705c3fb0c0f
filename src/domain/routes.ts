/** The reference domain over REST, to be mounted under `/api` behind a token (the handlers find `identity`). */
import { Hono } from "hono";
import type { Sql } from "../db/client.ts";
import type { Env } from "../http/env.ts";
import { friendRoutes, inviteRoutes } from "./routes_people.ts";
import { messageRoutes, roomRoutes } from "./routes_rooms.ts";
import { taskRoutes } from "./routes_tasks.ts";

/** All routes of the domain. Errors are TidingsError, rendered by the app they are mounted in. */
export function domainRoutes({ sql }: { readonly sql: Sql }): Hono<Env> {
  const app = new Hono<Env>({ strict: false });
  for (const routes of [friendRoutes, inviteRoutes, roomRoutes, messageRoutes, taskRoutes]) app.route("/", routes(sql));
  return app;
}
