/**
 * One line per request at level debug: id, method, path, status, duration. Never the query, which may hold a token, nor a
 * header; what looks like a token in a path is left out too.
 */
import type { Context, MiddlewareHandler } from "hono";
import type { Log } from "../transport/peer.ts";

export interface DebugLog extends Log {
  debug?(fields: object, text: string): void;
}

const TOKEN = /eyJ[\w-]*\.[\w-]+(\.[\w-]*)?/g;

/** What every log line about a request begins with. */
export function requestFields(c: Context): { request_id: unknown; method: string; path: string } {
  return { request_id: c.get("requestId"), method: c.req.method, path: c.req.path.replace(TOKEN, "[token]") };
}

export function requestLog(log: DebugLog): MiddlewareHandler {
  return async (c, next) => {
    if (!log.debug) return next();
    const began = performance.now();
    await next();
    const ms = Math.round(performance.now() - began);
    log.debug({ ...requestFields(c), status: c.res.status, ms }, "request");
  };
}
