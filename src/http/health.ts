/**
 * `/healthz`: the process serves. `/readyz`: it should get traffic, that is the database answers, LISTEN is up and it
 * is not draining. Neither asks for a token nor tells more than names.
 */
import { Hono } from "hono";

export interface Readiness {
  /** What keeps this instance from serving; empty: ready. */
  blockers(): Promise<readonly ("database" | "listen" | "draining")[]>;
}

export function healthRoutes(readiness: Readiness): Hono {
  const app = new Hono();
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    const blockers = await readiness.blockers();
    if (blockers.length === 0) return c.json({ status: "ready" });
    return c.json({ status: "not ready", blockers }, 503, { "retry-after": "2" });
  });
  return app;
}
