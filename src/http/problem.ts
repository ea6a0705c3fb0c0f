/**
 * Errors as RFC 9457 problem documents: `{type, title, status, detail, code}`. The one place where an error becomes an
 * HTTP answer. What is ours to tell is told in full; anything else is a 500 whose text says nothing of the inside.
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { type ErrorCode, TidingsError } from "../errors.ts";
import type { Log } from "../transport/peer.ts";
import { requestFields } from "./request_log.ts";

type Status = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 422 | 426 | 429 | 500 | 503;

const STATUS: Readonly<Record<ErrorCode, Status>> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  invalid: 422,
  rate_limited: 429,
  too_many_streams: 429,
  unavailable: 503,
  configuration: 500,
  database: 500,
  internal: 500,
};

const TITLE: Readonly<Record<Status, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** A problem document. */
export function problem(
  c: Context,
  status: Status,
  code: string,
  detail: string,
  headers: Record<string, string> = {},
): Response {
  const body = { type: "about:blank", title: TITLE[status], status, detail, code };
  return c.body(JSON.stringify(body), status, {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    ...(status === 401 ? { "www-authenticate": 'Bearer realm="tidings"' } : {}),
    ...(status === 503 ? { "retry-after": "2" } : {}),
    ...headers,
  });
}

/** The app's `onError`. */
export function renderError(log: Log): (error: Error, c: Context) => Response {
  return (error, c) => {
    if (error instanceof TidingsError && STATUS[error.code] !== 500) {
      return problem(c, STATUS[error.code], error.code, error.message);
    }
    if (error instanceof HTTPException && error.status < 500 && error.status in TITLE) {
      return problem(c, error.status as Status, codeOf(error.status), error.message || TITLE[error.status as Status]);
    }
    if (isAway(error)) return problem(c, 503, "unavailable", "The database cannot be reached: try again shortly.");
    if (isBadValue(error)) return problem(c, 422, "invalid", "A value in the request cannot be stored.");
    log.error({ err: error, ...requestFields(c) }, "a request failed");
    return problem(c, 500, "internal", "Something went wrong here; it was logged.");
  };
}

function codeOf(status: number): string {
  const found = Object.entries(STATUS).find(([, value]) => value === status);
  return found ? found[0] : "bad_request";
}

/** postgres.js's connection errors, and Postgres' classes 08, 53 and 57 (connection, resources, operator intervention). */
export function isAway(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code ?? "");
  return /^(CONNECT|CONNECTION_|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EHOSTUNREACH|08|53|57P0|25006)/.test(code);
}

/** Class 22: a value out of range, or text that Postgres cannot hold. */
function isBadValue(error: unknown): boolean {
  return /^22/.test(String((error as { code?: unknown }).code ?? ""));
}
