/** All routes in one Hono app. What is in front of them: request ids, secure headers, CORS, the body limit. */
import { Hono, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import type { OriginPolicy } from "../auth/origin.ts";
import { originAllowed } from "../auth/origin.ts";
import type { Identity } from "../auth/token.ts";
import type { Preferences } from "../db/preferences.ts";
import type { Producer } from "../db/producer.ts";
import type { Tickets } from "../db/tickets.ts";
import { TidingsError } from "../errors.ts";
import type { Env } from "./env.ts";
import { healthRoutes, type Readiness } from "./health.ts";
import { inboxRoutes } from "./inbox.ts";
import { admitted, type Load } from "./load.ts";
import { type HttpMeter, type MetricsSource, measured, metricsRoutes } from "./metrics.ts";
import { openApiRoutes } from "./openapi.ts";
import { preferenceRoutes } from "./preferences.ts";
import { problem, renderError } from "./problem.ts";
import { publishRoutes } from "./publish.ts";
import { type DebugLog, requestFields, requestLog } from "./request_log.ts";
import { type Sampler, statusRoutes } from "./status.ts";
import { type StreamServices, streamRoutes } from "./streams.ts";
import { ticketRoutes } from "./tickets.ts";
import { type UnsubscribeLinks, unsubscribeRoutes } from "./unsubscribe.ts";

export interface AppServices extends StreamServices {
  readonly log: DebugLog;
  readonly tickets: Tickets<Identity>;
  readonly preferences: Preferences;
  readonly producer: Producer;
  readonly readiness: Readiness;
  readonly origins: OriginPolicy;
  /** Further routes under /api that ask for a token: the reference domain's. */
  readonly domain: readonly Hono<Env>[];
  readonly metrics: MetricsSource & HttpMeter & { refused(): void };
  readonly load: Load;
  readonly sampler: Sampler;
  readonly unsubscribe: UnsubscribeLinks;
  /** On the embedded database operators' routes ask for no token. */
  readonly embedded: boolean;
  /** Further routes under /: chat streams, pages. */
  readonly pages: readonly Hono[];
}

/** The largest request body. */
const MAX_BODY = 64 * 1024;

export function createApp(services: AppServices): Hono {
  const {
    gate,
    inbox,
    preferences,
    tickets,
    producer,
    readiness,
    origins,
    domain,
    pages,
    log,
    metrics,
    sampler,
    embedded,
  } = services;
  const app = new Hono({ strict: false });
  app.onError(renderError(log));
  app.notFound((c) => problem(c, 404, "not_found", `There is nothing at ${requestFields(c).path}.`));
  app.use(requestId());
  app.use(requestLog(log));
  app.use(measured(metrics));
  app.use(exceptHandshakes(secureHeaders({ crossOriginResourcePolicy: false, crossOriginOpenerPolicy: false })));
  app.use("/api/*", crossOrigin(origins));
  app.use("/sse/*", crossOrigin(origins));
  app.use("/api/*", bodyLimit({ maxSize: MAX_BODY, onError: tooLarge }));
  app.use("/api/*", neverKept);
  app.route("/", healthRoutes(readiness));
  app.route("/", metricsRoutes(metrics, embedded ? null : gate));
  app.route("/", statusRoutes(sampler, embedded ? null : gate));
  app.route("/", unsubscribeRoutes(services.unsubscribe));
  app.route("/", streamRoutes(services));
  for (const page of pages) app.route("/", page);

  // behind the gate: waiting for a key set is no sign of load, and nobody without a token may make one
  const queue = admitted(services.load.rest, metrics.refused);
  const service = new Hono<Env>({ strict: false });
  service.use(gate.scope("publish"), queue);
  service.route("/", publishRoutes(producer));
  app.route("/api/publish", service);

  const api = new Hono<Env>({ strict: false });
  api.use(gate.rest, queue);
  for (const routes of [inboxRoutes(inbox), preferenceRoutes(preferences), ticketRoutes(tickets), ...domain])
    api.route("/", routes);
  app.route("/api", api);
  app.route("/", openApiRoutes(app));
  return app;
}

function tooLarge(): never {
  throw new TidingsError("too_large", `A request body may have at most ${MAX_BODY} bytes.`);
}

/** No browser shows the answer to a WebSocket's handshake: in a storm of them ten headers more are a tenth of the work. */
function exceptHandshakes(middleware: MiddlewareHandler): MiddlewareHandler {
  return (c, next) => (c.req.header("upgrade") ? next() : middleware(c, next));
}

/** What is a user's own is kept by no cache. */
const neverKept: MiddlewareHandler = async (c, next) => {
  c.header("cache-control", "no-store");
  await next();
};

/** CORS by the same policy that guards streams: an allowed origin may use the cookie; under `*` only tokens. */
function crossOrigin(origins: OriginPolicy): ReturnType<typeof cors> {
  const trusted = (origin: string): boolean => originAllowed(origins, origin, null, "http", "cookie");
  const shared = {
    allowMethods: ["GET", "POST", "PUT", "DELETE", "OPTIONS"],
    allowHeaders: ["Authorization", "Content-Type", "Last-Event-ID"],
    maxAge: 600,
  };
  const withCookie = cors({ ...shared, origin: (origin) => origin, credentials: true });
  const open = cors({ ...shared, origin: "*" });
  const closed = cors({ ...shared, origin: () => null });
  return (c, next) => {
    const origin = c.req.header("origin");
    if (!origin) return next();
    if (trusted(origin)) return withCookie(c, next);
    return (originAllowed(origins, origin, null, "http", "explicit") ? open : closed)(c, next);
  };
}
