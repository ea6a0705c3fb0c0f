/**
 * Tidings inside somebody's own app on Node: their Hono, their HTTP server, their database client, their token check.
 * `app` is mounted like any sub-app, `upgrade(server)` adds the WebSockets. Nothing of the reference domain comes along,
 * and importing this does nothing.
 */
import type { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import type { Identity, Verify } from "../auth/token.ts";
import { readConfig } from "../config.ts";
import { adopt } from "../db/adopt.ts";
import type { Sql } from "../db/client.ts";
import type { Producer } from "../db/producer.ts";
import { TidingsError } from "../errors.ts";
import type { ServiceLog } from "../log.ts";
import { createService } from "../service.ts";
import { readAsset } from "./assets.ts";
import { hmacCheck } from "./hmac.ts";
import { type App, answer, createRuntime, type Env, finish } from "./node_runtime.ts";
import { createGate } from "./node_upgrade.ts";

/** Who a token belongs to, as an application's own check answers. */
export interface Claims {
  /** The user id in the application's own table. */
  readonly userId: string | number;
  /** Epoch seconds; the stream is closed then. Default: an hour from now. */
  readonly expiresAt?: number;
  /** Epoch seconds; needed for `tidings.revoke` to let later tokens through. Default: now. */
  readonly issuedAt?: number;
  /** `publish`, `metrics`. */
  readonly scopes?: readonly string[];
}

export interface TidingsOptions {
  /** Connection string of the database; also for LISTEN, unless `listenUrl` says otherwise. */
  readonly databaseUrl: string;
  /** A direct connection, where `databaseUrl` goes through a pooler. */
  readonly listenUrl?: string;
  /** The application's own postgres.js client, used for queries and left open; one without `transform`. */
  readonly sql?: Sql;
  /** The application's own token check; null or a throw: refused. */
  readonly verify?: (token: string) => Promise<Claims | null> | Claims | null;
  /** Further settings by their environment names, such as `JWT_SECRET`, `ALLOWED_ORIGINS` or `RETENTION_DAYS`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where to log. Default: console, warnings and errors. */
  readonly log?: ServiceLog;
}

export interface Tidings extends Producer {
  /** To be mounted: `app.route("/notify", tidings.app)`. */
  readonly app: Hono;
  /**
   * Adds the WebSockets to the HTTP server that serves the app, whichever framework made it; other upgrades are left
   * to their own listeners.
   * @param server a `node:http` or `node:https` server, or what `serve()` of @hono/node-server returns
   */
  upgrade(server: EventEmitter): void;
  /** Migrates the schema `tidings` and starts to LISTEN. */
  start(): Promise<void>;
  /** Ends the streams with 1012 and stops. The application's server and client stay. Idempotent. */
  stop(): Promise<void>;
}

const HOUR = 3_600;
/** How long the token check of a handshake may take, in ms. */
const UPGRADE_MS = 10_000;
/** For closing handshakes, in ms; sockets left are cut. */
const CLOSING_MS = 500;

/** Builds it; nothing is opened before `start()`. Throws TidingsError `configuration` for settings that are wrong. */
export function createTidings(options: TidingsOptions): Tidings {
  const { databaseUrl, listenUrl = databaseUrl, sql, verify, settings } = options;
  const log = options.log ?? CONSOLE;
  const env = { DRAIN_SECONDS: "0", ...settings, DATABASE_URL: databaseUrl, LISTEN_URL: listenUrl, DOMAIN: "off" };
  // with a check of the application's own, the secret is never asked for
  const config = readConfig(verify ? { JWT_SECRET: "not used: verify is given", ...env } : env);
  const gate = createGate(UPGRADE_MS, log);
  const service = createService({
    config,
    log,
    sql: sql && adopt(sql),
    verify: verify && verifier(verify),
    database: { url: databaseUrl, listenUrl, embedded: false },
    assets: readAsset,
    hmac: hmacCheck,
    serve: async () => ({ port: 0, close: () => cutLate(gate) }),
  });
  const inner = service.app(createRuntime(gate, log));
  return {
    ...service.producer,
    app: mounted(inner),
    upgrade: (server) => attach(server, inner, gate),
    start: async () => void (await service.start()),
    stop: service.stop,
  };
}

/** Our routes behind one that strips wherever it was mounted, so that trailing slashes stay ours to ignore. */
function mounted(inner: Hono): Hono {
  const outer = new Hono();
  outer.all("/*", async (c) => {
    const prefix = c.req.routePath.slice(0, -2);
    const url = new URL(c.req.url);
    url.pathname = url.pathname.slice(prefix.length) || "/";
    const response = await inner.fetch(new Request(url, c.req.raw), c.env);
    // without a server around it (`app.request`), there is nothing to take over
    return c.env ? finish(response, c.env as Env) : response;
  });
  return outer;
}

const STREAM_PATH = /\/ws\/(notifications|chat)(\/|\?|$)/;

function attach(server: EventEmitter, app: App, gate: ReturnType<typeof createGate>): void {
  const listener = getRequestListener((request, env) => answer(app, request, env as Env));
  server.on("upgrade", (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    const at = incoming.url?.search(STREAM_PATH) ?? -1;
    if (at === -1) {
      // alone on this server, nobody else would answer
      if (server.listenerCount("upgrade") === 1) socket.destroy();
      return;
    }
    const outgoing = gate.admit(incoming, socket, head);
    incoming.url = incoming.url!.slice(at);
    if (outgoing) void listener(incoming, outgoing);
  });
}

async function cutLate(gate: ReturnType<typeof createGate>): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, CLOSING_MS));
  gate.cutAll();
}

function verifier(check: NonNullable<TidingsOptions["verify"]>): Verify {
  return async (token): Promise<Identity> => {
    const claims = await Promise.resolve(check(token)).catch(() => null);
    if (!claims) throw new TidingsError("unauthenticated", "The token was refused: sign in again.");
    const now = Math.floor(Date.now() / 1_000);
    const { userId, expiresAt = now + HOUR, issuedAt = now, scopes = [] } = claims;
    return { userId: String(userId), claim: userId, expiresAt, issuedAt, scopes };
  };
}

const CONSOLE: ServiceLog = {
  info() {},
  warn: (fields, text) => console.warn(`tidings: ${text}`, fields),
  error: (fields, text) => console.error(`tidings: ${text}`, fields),
};
