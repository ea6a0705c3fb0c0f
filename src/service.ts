/**
 * The composition root: builds database, hub, listener, app and workers from a Config, and owns their order.
 * Start fails fast and undoes what it had started; stop is idempotent, drains, and waits for everything.
 */
import type { Context, Hono } from "hono";
import { createVerifier, type Identity, signToken, type Verify } from "./auth/token.ts";
import { jitter } from "./backoff.ts";
import type { Config } from "./config.ts";
import { Hub } from "./core/hub.ts";
import { close, connect, type Sql } from "./db/client.ts";
import { createDelivered } from "./db/delivered.ts";
import { createEntries } from "./db/entries.ts";
import { createHousekeeper } from "./db/housekeeper.ts";
import { createInbox } from "./db/inbox.ts";
import { createListener } from "./db/listener.ts";
import { migrate } from "./db/migrate.ts";
import { createPreferences } from "./db/preferences.ts";
import { createProducer, type Producer } from "./db/producer.ts";
import { createRelay } from "./db/relay.ts";
import { seedDemo } from "./db/seed.ts";
import { createTickets } from "./db/tickets.ts";
import { createChat } from "./domain/chat.ts";
import { domainRoutes } from "./domain/routes.ts";
import { drain } from "./drain.ts";
import { TidingsError } from "./errors.ts";
import { createAdmission } from "./http/admission.ts";
import { type AppServices, createApp } from "./http/app.ts";
import { type ChatRoutes, chatRoutes } from "./http/chat.ts";
import { createGate } from "./http/gate.ts";
import type { Timing } from "./http/opening.ts";
import { type PageServices, pageRoutes, type ReadAsset } from "./http/pages.ts";
import { createSampler } from "./http/status.ts";
import type { ServiceLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import type { Log } from "./transport/peer.ts";
import type { Runtime } from "./transport/runtime.ts";
import { createMailer, type Mailer } from "./worker/mail.ts";
import { createUnsubscriber } from "./worker/mail_link.ts";
import { createScheduler } from "./worker/scheduler.ts";

/** A listening server, as a runtime makes it. */
export interface Server {
  readonly port: number;
  stopAccepting(): void;
  close(graceMs: number): Promise<void>;
}

export interface ServiceOptions {
  readonly config: Config;
  readonly log: ServiceLog;
  /** Starts the HTTP server of this runtime. */
  readonly serve: (options: {
    app: (runtime: Runtime) => Hono;
    host: string;
    port: number;
    log: Log;
  }) => Promise<Server>;
  /** The database to use; `embedded` seeds the demo users. */
  readonly database: { readonly url: string; readonly listenUrl: string; readonly embedded: boolean };
  readonly timing?: Timing;
  /** Where this server is reached from outside, for links in mails. Default: its own address on the embedded database, else none. */
  readonly publicUrl?: string | undefined;
  /** Connections of the pool. Default 10. */
  readonly poolSize?: number;
  /** Reads the files that browsers are served. Default: there are none. */
  readonly assets?: ReadAsset | undefined;
  /** A pool to use instead of one of our own; left open by `stop`. */
  readonly sql?: Sql | undefined;
  /** A token check to use instead of JWT_SECRET and JWKS_URL. */
  readonly verify?: Verify | undefined;
}

export interface Service {
  /** Resolves once requests are served and LISTEN is up. */
  start(): Promise<{ url: string; port: number }>;
  /** Drains and stops. Idempotent. */
  stop(): Promise<void>;
  /** The routes, for a runtime to serve; `start` does so by itself where `serve` is given. */
  app(runtime: Runtime): Hono;
  /** Publishing, once started. */
  readonly producer: Producer;
  readonly sql: Sql;
  readonly verify: Verify;
}

/** A sweep finds what a lost NOTIFY left behind. */
const SWEEP_MS: readonly [number, number] = [30_000, 60_000];

/** The page asks for a new one in time. */
const DEMO_TOKEN_SECONDS = 3_600;

export function createService(options: ServiceOptions): Service {
  const { config, log, database, timing = {} } = options;
  const failed = (what: string) => (error: unknown) => log.warn({ err: error }, what);
  const sql = options.sql ?? connect(database.url, { max: options.poolSize ?? 10 });
  const verify =
    options.verify ??
    createVerifier({
      secret: config.jwtSecret,
      jwksUrl: config.jwksUrl,
      issuer: config.jwtIssuer,
      audience: config.jwtAudience,
    });
  const metrics = createMetrics(sql, { listenSince: () => listeningSince });
  const sampler = createSampler(metrics);
  const reader = createEntries({ sql, observe: metrics.query });
  const inbox = createInbox(sql, config.domain);
  const tickets = createTickets<Identity>(sql);
  const producer = createProducer(sql, (text, fields) => log.error(fields, text));
  const scheduler = config.domain ? createScheduler({ sql, reminderSeconds: config.reminderSeconds, log }) : undefined;
  const hub = new Hub({
    reader,
    failed: failed("reading for the hub failed; the next sweep heals it"),
    scheduled: (at) => scheduler?.nudge(at),
  });
  const delivered = createDelivered(sql, failed("the delivered watermark was not written; tried again"));
  const relay = createRelay(sql, failed("relaying failed; tried again"));
  const housekeeper = createHousekeeper({
    sql,
    retentionDays: config.retentionDays,
    elected: () => relay.elected,
    failed: failed("housekeeping failed; tried again"),
  });
  const unsubscriber = createUnsubscriber(sql);
  let mailer: Mailer | undefined;
  const admission = createAdmission(config);
  const listener = createListener({
    url: database.listenUrl,
    channel: "tidings",
    onPayload(text) {
      relay.noticed();
      hub.receive(text);
      mailer?.nudge();
    },
    onUp() {
      listeningSince = Date.now();
      metrics.listen(true);
      void sweep();
    },
    onDown(error) {
      listeningSince = null;
      metrics.listen(false);
      relay.lost();
      log.warn({ err: error }, "LISTEN is down; streams stay open and catch up when it is back");
    },
    beat: (connection) => relay.beat(connection),
  });
  let listeningSince: number | null = null;
  let sweepTimer: ReturnType<typeof setTimeout> | undefined;
  let server: Server | undefined;
  let stopping: Promise<void> | undefined;

  let chat: ChatRoutes | undefined;
  const demoTokens = database.embedded ? demoTokensOf(config) : null;

  function app(runtime: Runtime): Hono {
    const services: Omit<AppServices, "domain" | "pages"> = {
      runtime,
      gate: createGate({
        verify,
        tickets,
        revokedAt: inbox.revokedAt,
        origins: config.origins,
        trustProxy: config.trustProxy,
      }),
      admission,
      log,
      timing,
      revokedAt: inbox.revokedAt,
      address: (c) => clientAddress(c, runtime, config.trustProxy),
      meter: metrics,
      hub,
      reader,
      inbox,
      verify,
      streamEvents: {
        sent(stream, entry, path) {
          delivered.note(stream.userId, entry.id);
          metrics.sent(stream.transport.kind, entry, path);
        },
        reset: () => metrics.reset(),
        failed: (_stream, error) => log.warn({ err: error }, "a stream could not read; tried again"),
      },
      tickets,
      preferences: createPreferences(sql),
      producer,
      readiness: { blockers },
      origins: config.origins,
      metrics,
      sampler,
      unsubscribe: unsubscriber,
      embedded: database.embedded,
    };
    const pages = pageRoutes({ asset: options.assets ?? (async () => null), demo: config.domain, demoTokens });
    if (!config.domain) return createApp({ ...services, domain: [], pages: [pages] });
    chat = chatRoutes({ ...services, chat: createChat(sql) });
    return createApp({ ...services, domain: [domainRoutes({ sql })], pages: [chat.routes, pages] });
  }

  /** Finds what lost announcements left behind: entries, revocations, memberships that ended. */
  async function sweep(): Promise<void> {
    await Promise.all([hub.sweep(), chat?.recheck().catch(failed("chat memberships were not rechecked"))]);
  }

  async function blockers(): Promise<("database" | "listen" | "draining")[]> {
    const answered = await Promise.race([
      sql`select 1`.then(
        () => true,
        () => false,
      ),
      new Promise<false>((resolve) => setTimeout(resolve, 2_000, false)),
    ]);
    return [
      ...(answered ? [] : ["database" as const]),
      ...(listener.up ? [] : ["listen" as const]),
      ...(admission.draining ? ["draining" as const] : []),
    ];
  }

  function sweepLater(): void {
    sweepTimer = setTimeout(() => void sweep().finally(() => !stopping && sweepLater()), jitter(...SWEEP_MS));
  }

  async function start(): Promise<{ url: string; port: number }> {
    try {
      // what is wrong with DATABASE_URL is told as such, not as a migration that failed
      await sql`select 1`;
      await migrate(sql, { domain: config.domain, log: (text) => log.info({}, text) });
      if (database.embedded && config.domain) await seedDemo(sql);
      await listener.start();
      server = await options.serve({ app, host: config.host, port: config.port, log });
      if (stopping) throw new TidingsError("unavailable", "The service was stopped while it was starting.");
      sweepLater();
      housekeeper.start();
      await scheduler?.start();
      sampler.start();
      const host = config.host.includes(":") ? `[${config.host}]` : config.host;
      const url = `http://${host}:${server.port}`;
      await startMailer(options.publicUrl ?? (database.embedded ? url : undefined));
      return { url, port: server.port };
    } catch (error) {
      await stop();
      await server?.close(0);
      throw error instanceof TidingsError ? error : new TidingsError("database", reasonOf(error), { cause: error });
    }
  }

  async function startMailer(baseUrl: string | undefined): Promise<void> {
    const { smtpUrl, mailFrom: from, emailDelaySeconds: delaySeconds } = config;
    if (!smtpUrl) return;
    const unsubscribeKey = await unsubscriber.key();
    const observe = metrics.email;
    if (stopping) return;
    mailer = createMailer({ sql, smtpUrl, from, delaySeconds, baseUrl, unsubscribeKey, log, observe });
    mailer.start();
  }

  async function stopAll(): Promise<void> {
    clearTimeout(sweepTimer);
    sampler.stop();
    if (server) await drain(server, admission, hub, config.drainSeconds * 1_000);
    await Promise.all([mailer?.stop(), scheduler?.stop(), housekeeper.stop(), relay.stop(), delivered.stop()]);
    await listener.stop();
    if (!options.sql) await close(sql);
  }

  function stop(): Promise<void> {
    stopping ??= stopAll();
    return stopping;
  }

  return { start, stop, app, producer, sql, verify };
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `The database cannot be used (${message}): check DATABASE_URL.`;
}

/** Tokens for the demo users, where they are signed with a secret of ours. */
function demoTokensOf({ jwtSecret, jwtIssuer: iss, jwtAudience: aud, origins }: Config): PageServices["demoTokens"] {
  if (!jwtSecret) return null;
  const claims = { ...(iss ? { iss } : {}), ...(aud ? { aud } : {}) };
  return { origins, issue: (user_id) => signToken(jwtSecret, { ...claims, user_id }, DEMO_TOKEN_SECONDS) };
}

/** The n-th address from the right of X-Forwarded-For, n being the number of trusted proxies. */
function clientAddress(c: Context, runtime: Runtime, trustProxy: number): string {
  const direct = runtime.address(c);
  if (trustProxy === 0) return direct;
  const forwarded = (c.req.header("x-forwarded-for") ?? "").split(",").flatMap((part) => part.trim() || []);
  return forwarded.at(-trustProxy) ?? forwarded[0] ?? direct;
}
