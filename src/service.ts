/**
 * The composition root: builds database, hub, feed, routes and workers from a Config, and owns their order.
 * Start fails fast and undoes what it had started; stop is idempotent, drains, and waits for everything.
 */
import type { Hono } from "hono";
import { createVerifier, type HmacCheck, type Identity, type Verify } from "./auth/token.ts";
import type { Config } from "./config.ts";
import { Hub } from "./core/hub.ts";
import type { Reader } from "./core/reader.ts";
import type { StreamEvents } from "./core/stream.ts";
import { close, connect, type Sql } from "./db/client.ts";
import { createDelivered } from "./db/delivered.ts";
import { createEntries } from "./db/entries.ts";
import { createHousekeeper } from "./db/housekeeper.ts";
import { createInbox } from "./db/inbox.ts";
import { migrate } from "./db/migrate.ts";
import { createProducer, type Producer } from "./db/producer.ts";
import { seedDemo } from "./db/seed.ts";
import { createTickets } from "./db/tickets.ts";
import { atMost } from "./deadline.ts";
import { drain } from "./drain.ts";
import { TidingsError } from "./errors.ts";
import { createFeed } from "./feed/feed.ts";
import { createAdmission } from "./http/admission.ts";
import { createLoad } from "./http/load.ts";
import type { Timing } from "./http/opening.ts";
import type { ReadAsset } from "./http/pages.ts";
import { createSampler } from "./http/status.ts";
import type { ServiceLog } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { createRoutes } from "./routes.ts";
import type { Log } from "./transport/peer.ts";
import type { Runtime } from "./transport/runtime.ts";
import { createMailer, type Mailer } from "./worker/mail.ts";
import { createUnsubscriber } from "./worker/mail_link.ts";
import { createPresence } from "./worker/presence.ts";
import { createScheduler } from "./worker/scheduler.ts";

/** A listening server, as a runtime makes it. */
export interface Server {
  readonly port: number;
  close(graceMs: number): Promise<void>;
}

/** Every interval of the service, in ms. */
export interface ServiceTiming extends Timing {
  /** Least and most between two sweeps. Default 30,000 to 60,000. */
  readonly sweepMs?: readonly [number, number];
  /** Between two heartbeats of the LISTEN connection. Default 5,000. */
  readonly beatMs?: number;
  /** How long such a heartbeat may take before the connection is given up. Default 5,000. */
  readonly beatTimeoutMs?: number;
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
  readonly timing?: ServiceTiming;
  /** Connections of the pool. Default 10. */
  readonly poolSize?: number;
  /** Reads the files that browsers are served. Default: there are none. */
  readonly assets?: ReadAsset | undefined;
  /** A pool to use instead of one of our own; left open by `stop`. */
  readonly sql?: Sql | undefined;
  /** Checks HS256 at once, where the runtime can. */
  readonly hmac?: HmacCheck | undefined;
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

/** A database that has gone silent must not keep the process: closing the pool then fails what waits for it. */
const STOP_MS = 5_000;
/** As many reads as run at once: of opening streams, of those that are behind, of counts. */
const STREAM_CONNECTIONS = 5;
/** A sweep finds what a lost NOTIFY left behind. */
const SWEEP_MS: readonly [number, number] = [30_000, 60_000];

export function createService(options: ServiceOptions): Service {
  const { config, log, database, timing = {} } = options;
  const failed = (what: string) => (error: unknown) => log.warn({ err: error }, what);
  const sql =
    options.sql ??
    connect(database.url, { max: options.poolSize ?? 10, name: `pool ${crypto.randomUUID().slice(0, 8)}` });
  const verify =
    options.verify ??
    createVerifier({
      ...{ secret: config.jwtSecret, jwksUrl: config.jwksUrl, hmac: options.hmac },
      ...{ issuer: config.jwtIssuer, audience: config.jwtAudience },
    });
  const metrics = createMetrics(sql, { listenSince: () => feed.since, feedParts: () => feed.parts });
  const sampler = createSampler(metrics);
  // of their own: what streams wait for must not stand behind requests that wait for a lock
  const streamSql = options.sql ?? connect(database.url, { max: STREAM_CONNECTIONS, name: "streams" });
  const load = createLoad(sql.options.max);
  const entries = createEntries({ sql: streamSql, openings: load.openings, observe: metrics.query });
  /** The first read of a stream comes after its user's announcements are heard: then nothing can fall between them. */
  const reader: Reader = {
    ...entries,
    async read(userId, cursor, opening) {
      if (opening) await feed.followed();
      return entries.read(userId, cursor, opening);
    },
  };
  const producer = createProducer(sql, (text, fields) => log.error(fields, text));
  const scheduler = config.domain ? createScheduler({ sql, reminderSeconds: config.reminderSeconds, log }) : undefined;
  const hub = new Hub({
    reader,
    failed: failed("reading for the hub failed; the next sweep heals it"),
    scheduled: (at) => scheduler?.nudge(at),
    follow: (group, isWanted) => feed.follow(group, isWanted),
    left: (streams) =>
      void routes.recheckChats(streams).catch(failed("a membership was not looked at; the next sweep does")),
  });
  const delivered = createDelivered(sql, failed("the delivered watermark was not written; tried again"));
  const housekeeper = createHousekeeper({
    sql,
    retentionDays: config.retentionDays,
    elected: () => feed.elected,
    failed: failed("housekeeping failed; tried again"),
  });
  const unsubscribe = createUnsubscriber(sql);
  const instance = 1 + Math.floor(Math.random() * (2 ** 31 - 2));
  const presence = createPresence({ sql, instance, log });
  const admission = createAdmission(config);
  const streamEvents: StreamEvents = {
    sent(stream, entry, path) {
      delivered.note(stream.userId, entry.id);
      metrics.sent(stream.transport.kind, entry, path);
    },
    reset: () => metrics.reset(),
    failed: (_stream, error) => log.warn({ err: error }, "a stream could not read; tried again"),
  };
  const routes = createRoutes({
    config,
    sql,
    verify,
    log,
    timing,
    admission,
    load,
    hub,
    reader,
    presence,
    producer,
    metrics,
    sampler,
    streamEvents,
    unsubscribe,
    meter: metrics,
    inbox: createInbox(sql, config.domain, streamSql),
    tickets: createTickets<Identity>(sql),
    readiness: { blockers },
    embedded: database.embedded,
    assets: options.assets,
  });
  const feed = createFeed({
    kind: config.feed,
    busUrl: config.busUrl,
    sql,
    log,
    instance,
    listenUrl: database.listenUrl,
    sweepMs: timing.sweepMs ?? SWEEP_MS,
    beatMs: timing.beatMs,
    beatTimeoutMs: timing.beatTimeoutMs,
    heard(text) {
      hub.receive(text);
      mailer?.nudge();
    },
    relayed(text) {
      hub.relayed(text);
      mailer?.nudge();
    },
    async sweep() {
      await Promise.all([hub.sweep(), routes.recheckChats().catch(failed("chat memberships were not rechecked"))]);
    },
    changed(up) {
      metrics.listen(up);
      if (up) presence.restore();
    },
  });
  let mailer: Mailer | undefined;
  let server: Server | undefined;
  let stopping: Promise<void> | undefined;

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
      ...(feed.up ? [] : ["listen" as const]),
      ...(admission.draining ? ["draining" as const] : []),
    ];
  }

  async function start(): Promise<{ url: string; port: number }> {
    try {
      // what is wrong with DATABASE_URL is told as such, not as a migration that failed
      await sql`select 1`;
      await migrate(sql, { domain: config.domain, log: (text) => log.info({}, text) });
      if (database.embedded && config.domain) await seedDemo(sql);
      await entries.warm();
      await feed.start();
      presence.start();
      server = await options.serve({ app: routes.app, host: config.host, port: config.port, log });
      if (stopping) throw new TidingsError("unavailable", "The service was stopped while it was starting.");
      housekeeper.start();
      await scheduler?.start();
      sampler.start();
      const host = config.host.includes(":") ? `[${config.host}]` : config.host;
      const url = `http://${host}:${server.port}`;
      await startMailer(config.publicUrl ?? (database.embedded ? url : undefined));
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
    const unsubscribeKey = await unsubscribe.key();
    const observe = metrics.email;
    if (stopping) return;
    mailer = createMailer({ sql, smtpUrl, from, delaySeconds, baseUrl, unsubscribeKey, log, observe });
    mailer.start();
  }

  async function stopAll(): Promise<void> {
    sampler.stop();
    if (server) await drain(server, admission, hub, config.drainSeconds * 1_000);
    const workers = [presence.stop(), mailer?.stop(), scheduler?.stop(), housekeeper.stop(), delivered.stop()];
    await atMost(STOP_MS, Promise.all(workers));
    await atMost(STOP_MS, feed.stop());
    if (!options.sql) await Promise.all([close(sql), close(streamSql)]);
  }

  function stop(): Promise<void> {
    stopping ??= stopAll();
    return stopping;
  }

  return { start, stop, app: routes.app, producer, sql, verify };
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return `The database cannot be used (${message}): check DATABASE_URL.`;
}
