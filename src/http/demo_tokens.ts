/**
 * `POST /demo/token {user}`: a token for a demo user, for anybody who has this machine's page open. On the embedded
 * database only, and only to the server's own page or one of this machine; a name that merely resolves here (DNS
 * rebinding) is refused, unless ALLOWED_ORIGINS names it.
 */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { describeRoute } from "hono-openapi";
import { z } from "zod";
import { type OriginPolicy, originAllowed } from "../auth/origin.ts";
import { DEMO_USERS } from "../demo/users.ts";
import { TidingsError } from "../errors.ts";

export interface DemoTokens {
  readonly origins: OriginPolicy;
  /** Signs a token for a user. */
  issue(userId: number): Promise<string>;
}

const asked = z.object({ user: z.enum(DEMO_USERS.map(({ username }) => username)) });

export function demoTokenRoutes({ origins, issue }: DemoTokens): Hono {
  const app = new Hono();
  const described = describeRoute({
    summary: "A token for a demo user, on the embedded database",
    tags: ["pages"],
    security: [],
    responses: { 200: { description: "The token and its user" }, 403: { description: "Not the server's own page" } },
  });
  app.post("/demo/token", described, bodyLimit({ maxSize: 1_024 }), async (c) => {
    const { host = "", origin } = c.req.header();
    if (!isOwn(host, origin ?? null, origins)) {
      throw new TidingsError("forbidden", "Tokens are given to the demo page of this server only.");
    }
    const { data } = asked.safeParse(await c.req.json().catch(() => null));
    const user = DEMO_USERS.find(({ username }) => username === data?.user);
    if (!user) {
      const names = DEMO_USERS.map(({ username }) => username).join(", ");
      throw new TidingsError("invalid", `user: one of ${names}.`);
    }
    return c.json({ token: await issue(user.id), user }, 200, { "cache-control": "no-store" });
  });
  return app;
}

/** An address or localhost cannot be made by rebinding; any other name has to be the operator's. */
function isOwn(host: string, origin: string | null, origins: OriginPolicy): boolean {
  if (!originAllowed(origins, origin, host, "http", "cookie")) return false;
  const isAddress = /^(\[[\da-f:.]+\]|\d+(\.\d+){3}|localhost)(:\d+)?$/i.test(host);
  return isAddress || origins.allowed.some((allowed) => allowed.endsWith(`//${host.toLowerCase()}`));
}
