/** `POST /api/tickets`: a one-time ticket for clients that build a new URL for each connection (CONTRACT section 6). */
import { Hono } from "hono";
import { z } from "zod";
import type { Identity } from "../auth/token.ts";
import { TICKET_SECONDS, type Tickets } from "../db/tickets.ts";
import type { Env } from "./env.ts";
import { route } from "./schema.ts";

const ticketSchema = z.object({ ticket: z.string(), expires_in: z.number().int() });

export function ticketRoutes(tickets: Tickets<Identity>): Hono<Env> {
  const app = new Hono<Env>();
  app.post(
    "/tickets",
    route("Buys a one-time ticket for a stream URL (?ticket=)", "streams", 201, ticketSchema),
    async (c) => c.json({ ticket: await tickets.issue(c.get("identity")), expires_in: TICKET_SECONDS }, 201),
  );
  return app;
}
