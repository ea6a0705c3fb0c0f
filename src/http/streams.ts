/** The routes of the notification stream: one session over two transports. */
import { type Context, Hono } from "hono";
import type { Taste } from "../core/entry.ts";
import { type AskedCursor, parseCursor } from "../protocol/cursor.ts";
import { type Opening, type OpeningServices, openSse, openWebSocket } from "./opening.ts";
import { streamRoute } from "./schema.ts";
import { openSession, type SessionServices } from "./session.ts";

export type StreamServices = OpeningServices & SessionServices;

const DEFAULT_TASTE: Taste = { types: null, alias: false };

export function streamRoutes(services: StreamServices): Hono {
  const app = new Hono();
  const opening = (c: Context, heartbeatMs: number): Opening => {
    const asked = askedCursor(c);
    const taste = tasteOf(c);
    return {
      kind: "notifications",
      prepare: async (identity) => (transport) =>
        openSession(services, identity, asked, taste, heartbeatMs / 1_000, transport),
    };
  };
  app.get("/ws/notifications", streamRoute("The user's stream over WebSocket", 101), (c) =>
    openWebSocket(services, c, opening(c, services.timing.heartbeatMs ?? 25_000)),
  );
  app.get("/sse/notifications", streamRoute("The user's stream over SSE", 200), (c) =>
    openSse(services, c, opening(c, services.timing.sseHeartbeatMs ?? 20_000)),
  );
  return app;
}

/** The header goes before the query: a polyfill's URL goes stale while its header advances. */
function askedCursor({ req }: Context): AskedCursor {
  const query = req.query("last_event_id") ?? req.query("lastEventId") ?? req.query("lastEventID");
  return parseCursor(req.header("last-event-id") ?? query);
}

/** What `?types=` and `?alias=` ask for. */
export function tasteOf({ req }: Context): Taste {
  const types = req
    .query("types")
    ?.split(",")
    .flatMap((type) => type.trim() || []);
  const alias = req.query("alias") === "notification";
  if (!types?.length && !alias) return DEFAULT_TASTE;
  return { types: types?.length ? new Set(types) : null, alias };
}
