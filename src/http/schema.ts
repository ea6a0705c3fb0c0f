/**
 * How requests are checked and routes described: zod schemas that validate and, by hono-openapi, document.
 * Bad input is a 422 that names the field; text never holds NUL or a lone surrogate, which Postgres cannot store.
 */

import type { Context, MiddlewareHandler, Next } from "hono";
import { describeRoute, resolver, validator } from "hono-openapi";
import { z } from "zod";
import { TidingsError } from "../errors.ts";
import type { Env } from "./env.ts";

/** Text that can be stored. */
export const text = (most: number, least = 0): z.ZodString =>
  z
    .string()
    .min(least)
    .max(most)
    .refine((value) => !value.includes("\0") && value.isWellFormed(), "must not contain NUL or lone surrogates");

/** An id in a path or query. */
export const idText: z.ZodCoercedNumber<string> = z.coerce
  .number<string>()
  .int()
  .positive()
  .max(Number.MAX_SAFE_INTEGER);
/** An id in a body: a JSON number. */
export const idNumber: z.ZodNumber = z.number().int().positive().max(Number.MAX_SAFE_INTEGER);
export const limit: z.ZodDefault<z.ZodCoercedNumber<string>> = z.coerce
  .number<string>()
  .int()
  .min(1)
  .max(200)
  .default(50);
export const flag: z.ZodType<boolean, string> = z
  .enum(["true", "false", "1", "0", ""])
  .transform((value) => value !== "false" && value !== "0");
export const idParam: z.ZodObject<{ id: typeof idText }> = z.object({ id: idText });

/** Any JSON object that can be stored: no string in it holds NUL or a lone surrogate. */
export const jsonObject: z.ZodType<Record<string, unknown>> = z
  .record(z.string(), z.unknown())
  .refine((value) => storable(value), "must not contain NUL or lone surrogates");

function storable(value: unknown): boolean {
  if (typeof value === "string") return !value.includes("\0") && value.isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, inner]) => storable(key) && storable(inner));
}

type Checked<Schema extends z.ZodType, Target extends string> = MiddlewareHandler<
  Env,
  string,
  { in: { [K in Target]: z.input<Schema> }; out: { [K in Target]: z.output<Schema> } }
>;

/** Validates one part of the request; the handler finds it under `c.req.valid(target)`. */
export function check<Schema extends z.ZodType, Target extends "json" | "query" | "param">(
  target: Target,
  schema: Schema,
): Checked<Schema, Target> {
  const validate = validator(target, schema, (result) => {
    if (result.success) return;
    const { path = [], message } = result.error[0] as { path?: readonly unknown[]; message: string };
    const field = path.map((step) => String((step as { key?: unknown } | null)?.key ?? step)).join(".");
    throw new TidingsError("invalid", field ? `${field}: ${message}` : message);
  });
  if (target !== "json") return validate as unknown as Checked<Schema, Target>;
  // the document is made from what hono-openapi put on its own handler
  return Object.assign(async (c: Context, next: Next) => {
    await readableJson(c);
    return validate(c as never, next);
  }, validate) as unknown as Checked<Schema, Target>;
}

/** An absent body is `{}`; a body that does not say it is JSON gets told so rather than taken for `{}`. */
async function readableJson(c: Context): Promise<void> {
  const type = c.req.header("content-type") ?? "";
  const body = await c.req.text();
  if (body === "") c.req.bodyCache.text = "{}";
  else if (!/^application\/([a-z.-]+\+)?json\b/i.test(type)) {
    throw new TidingsError("bad_request", "Send the body as JSON, with content-type: application/json.");
  }
}

/** A route's line in the OpenAPI document. */
export function route(
  summary: string,
  tag: string,
  status: 200 | 201 | 202 | 204,
  answer?: z.ZodType,
): MiddlewareHandler {
  const content = answer ? { content: { "application/json": { schema: resolver(answer) } } } : {};
  return describeRoute({
    summary,
    tags: [tag],
    responses: {
      [status]: { description: status === 204 ? "Done" : "OK", ...content },
      default: {
        description: "A problem document (RFC 9457); 503 with Retry-After while too many requests wait",
        content: { "application/problem+json": { schema: resolver(problemDocument) } },
      },
    },
  });
}

/** The line of a stream's route: WebSocket (101) or SSE (200). */
export function streamRoute(summary: string, status: 101 | 200): MiddlewareHandler {
  const parameters = [
    "last_event_id",
    "types",
    "alias",
    "token",
    "ticket",
    ...(status === 200 ? ["named", "heartbeat"] : []),
  ];
  return describeRoute({
    summary,
    tags: ["streams"],
    parameters: parameters.map((name) => ({ name, in: "query", schema: { type: "string" } })),
    responses: {
      [status]: {
        description: "Frames: see the schemas Frame_*",
        ...(status === 200 ? { content: { "text/event-stream": { schema: { type: "string" } } } } : {}),
      },
    },
  });
}

export const problemDocument: z.ZodType = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
});

export const timestamp: z.ZodString = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);

/** The canonical notification (CONTRACT section 2); a producer's extra fields stand beside these. */
export const notification: z.ZodType = z
  .looseObject({
    id: z.number().int(),
    notification_id: z.number().int(),
    title: z.string(),
    message: z.string(),
    notification_type: z.string(),
    is_read: z.boolean(),
    created_at: timestamp,
    timestamp,
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Notification" });

export const unreadCount: z.ZodType = z
  .object({ count: z.number().int(), by_type: z.record(z.string(), z.number().int()) })
  .meta({ id: "UnreadCount" });

/** A page of a list. */
export const page = (item: z.ZodType): z.ZodType =>
  z.object({ items: z.array(item), next: z.number().int().nullable() });
