/**
 * `/healthz`: the process serves. `/readyz`: it should get traffic, that is the database answers, LISTEN is up and it
 * is not draining. Neither asks for a token nor tells more than names.
 */
import { Hono } from "hono";
import { z } from "zod";
import { route } from "./schema.ts";

export interface Readiness {
  /** What keeps this instance from serving; empty: ready. */
  blockers(): Promise<readonly ("database" | "listen" | "draining")[]>;
}

const status = z.object({ status: z.string() });

export function healthRoutes(readiness: Readiness): Hono {
  const app = new Hono();
  app.get("/healthz", route("The process serves", "operations", 200, status), (c) => c.json({ status: "ok" }));
  app.get("/readyz", route("It should get traffic: 200, else 503", "operations", 200, status), async (c) => {
    const blockers = await readiness.blockers();
    if (blockers.length === 0) return c.json({ status: "ready" });
    return c.json({ status: "not ready", blockers }, 503, { "retry-after": "2" });
  });
  return app;
}
