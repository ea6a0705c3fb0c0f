/**
 * What is counted, for Prometheus at /metrics (names: CONTRACT section 11). Counting is a few nanoseconds on the
 * hot path; what needs the database is asked when somebody scrapes, not before.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Entry } from "./core/entry.ts";
import type { Sql } from "./db/client.ts";
import { CLOSE } from "./protocol/close.ts";

type TransportKind = "websocket" | "sse";
type Path = "fast" | "read";

export interface Metrics {
  opened(transport: TransportKind): void;
  /** @param wasOpen false for a refused one */
  closed(transport: TransportKind, code: number, wasOpen: boolean): void;
  sent(transport: TransportKind, entry: Entry, path: Path): void;
  reset(): void;
  /** A REST request was refused for overload. */
  refused(): void;
  query(query: string, seconds: number, rows: number): void;
  listen(up: boolean): void;
  http(method: string, route: string, status: number, seconds: number): void;
  email(result: string): void;
  /** The text of /metrics. */
  render(): Promise<string>;
  readonly contentType: string;
  /** Open streams now. */
  readonly open: Readonly<Record<TransportKind, number>>;
  /** Milliseconds from numbering to write of the newest deliveries, for the status page. */
  readonly recent: RecentDeliveries;
}

/** A ring of the newest delivery times. */
export interface RecentDeliveries {
  readonly total: number;
  /** The newest of them, at most `most` and at most a thousand, ascending. */
  newest(most: number): number[];
}

const SECONDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
const RING = 1_000;
/** How long a scrape waits for the database; what it did not hear keeps its last value. */
const ASK_MS = 3_000;
/**
 * The histogram of the event loop's lag wakes the process a hundred times a second to fill itself, which is half of what
 * an idle instance spends. What is left is the lag at a scrape.
 */
const NEVER_MS = 2 ** 31 - 1;
const LAGS = ["min", "max", "mean", "stddev", "p50", "p90", "p99"];
/** Inboxes recounted per scrape. */
const DRIFT_SAMPLE = 5;

export interface MetricsState {
  /** When the feed came up, epoch milliseconds; null while it is down. */
  listenSince(): number | null;
  /** Whether each part of the feed is up. */
  feedParts(): Readonly<Record<string, boolean>>;
}

/** @param state asked at each scrape */
export function createMetrics(sql: Sql, state: MetricsState): Metrics {
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  collectDefaultMetrics({ register: registry, prefix: "tidings_", eventLoopMonitoringPrecision: NEVER_MS });
  for (const name of LAGS) registry.removeSingleMetric(`tidings_nodejs_eventloop_lag_${name}_seconds`);
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name: `tidings_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name: `tidings_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Histogram({ name: `tidings_${name}`, help, labelNames, buckets: SECONDS, registers });

  const streams = gauge("streams", "Open streams", ["transport"]);
  const sends = counter("sends_total", "Entries written to streams, by fast path or read", ["transport", "result"]);
  const delivery = histogram("delivery_seconds", "From numbering at commit to the write to a stream", ["path"]);
  const replayRows = counter("replay_rows_total", "Entries read from the table for streams");
  const queries = histogram("query_seconds", "Duration of queries for streams", ["query"]);
  const closes = counter("closes_total", "Streams closed or refused, by close code", ["code"]);
  const resets = counter("resets_total", "Streams told to rehydrate, their cursor being out of reach");
  const refusals = counter("rest_refused_total", "REST requests answered 503 because too many waited");
  const slow = counter("slow_readers_total", "Streams closed because their client stopped reading");
  const listenUp = gauge("listen_up", "1 while LISTEN is established");
  const listenAge = gauge("listen_age_seconds", "Age of the LISTEN connection");
  const feedUp = gauge(
    "feed_up",
    "1 while this part of the feed is up: listen, wal, bus; relay: this instance feeds the bus",
    ["part"],
  );
  const queueUsage = gauge("notify_queue_usage", "Share of Postgres' NOTIFY queue in use, 0 to 1");
  const emailQueue = gauge("email_queue", "Notifications waiting to be e-mailed, by state", ["state"]);
  const emails = counter("emails_total", "E-mails by result", ["result"]);
  const requests = histogram("http_seconds", "Duration of HTTP requests", ["method", "route", "status"]);
  const pool = gauge("pool_connections", "Connections of this instance's pool, by what they do", ["state"]);
  const drift = gauge("inbox_drift", "Inboxes with a wrong unread count, of the few that this scrape recounted");
  const sampled = counter("inbox_drift_sampled_total", "Inboxes recounted for tidings_inbox_drift");
  const open = { websocket: 0, sse: 0 };
  const sent = { websocket: { fast: 0, read: 0 }, sse: { fast: 0, read: 0 } };
  const [fast, read] = [delivery.labels("fast"), delivery.labels("read")];
  const times = {
    fast: createRing((ms) => fast.observe(ms / 1_000)),
    read: createRing((ms) => read.observe(ms / 1_000)),
  };

  /** The library hashes labels and looks for a bucket each time: what comes with every entry is told it by and by. */
  function tellSends(): void {
    for (const transport of ["websocket", "sse"] as const) {
      for (const path of ["fast", "read"] as const) {
        sends.labels(transport, path).inc(sent[transport][path]);
        sent[transport][path] = 0;
      }
    }
    times.fast.tell();
    times.read.tell();
  }

  async function ask(): Promise<void> {
    const since = state.listenSince();
    listenAge.set(since === null ? 0 : (Date.now() - since) / 1_000);
    for (const [part, isUp] of Object.entries(state.feedParts())) feedUp.labels(part).set(isUp ? 1 : 0);
    await Promise.all([askQueues(), askPool(), askDrift()]);
  }

  async function askPool(): Promise<void> {
    const rows = await sql<{ state: string; many: number }[]>`
      select case state when 'active' then 'active' when 'idle' then 'idle' else 'in transaction' end as state, count(*)::int as many
      from pg_stat_activity where datname = current_database() and usename = current_user
        and application_name = current_setting('application_name') group by 1`;
    for (const name of ["active", "idle", "in transaction"]) pool.labels(name).set(0);
    for (const row of rows) pool.labels(row.state).set(row.many);
  }

  async function askDrift(): Promise<void> {
    const [row] = await sql<
      { sampled: number; drifted: number }[]
    >`select * from tidings.drift_sample(${DRIFT_SAMPLE}::int)`;
    sampled.inc(row!.sampled);
    drift.set(row!.drifted);
  }

  async function askQueues(): Promise<void> {
    const rows = await sql<{ usage: number; state: string | null; many: number }[]>`
      select pg_notification_queue_usage() as usage, e.state, count(e.state)::int as many
      from (select 1) one left join tidings.email e on e.state in ('pending', 'sending', 'unknown', 'dead') group by e.state`;
    queueUsage.set(rows[0]?.usage ?? 0);
    emailQueue.reset();
    for (const name of ["pending", "sending", "unknown", "dead"]) emailQueue.labels(name).set(0);
    for (const row of rows) if (row.state) emailQueue.labels(row.state).set(row.many);
  }

  return {
    opened(transport) {
      open[transport]++;
      streams.labels(transport).inc();
    },
    closed(transport, code, wasOpen) {
      if (wasOpen) {
        open[transport]--;
        streams.labels(transport).dec();
      }
      if (wasOpen && code === CLOSE.overloaded) slow.inc();
      closes.labels(String(code)).inc();
    },
    sent(transport, entry, path) {
      const ms = Date.now() - entry.createdAt;
      sent[transport][path]++;
      if (!Number.isNaN(ms)) times[path].add(Math.max(0, ms));
    },
    reset: () => resets.inc(),
    refused: () => refusals.inc(),
    query(query, seconds, rows) {
      queries.labels(query).observe(seconds);
      if (query === "read" || query === "open") replayRows.inc(rows);
    },
    listen: (up) => listenUp.set(up ? 1 : 0),
    http: (method, route, status, seconds) => requests.labels(method, route, String(status)).observe(seconds),
    email: (result) => emails.labels(result).inc(),
    async render() {
      // a scrape while the database is down tells the rest
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, ASK_MS);
      });
      await Promise.race([ask().catch(() => {}), late]);
      clearTimeout(timer);
      tellSends();
      return registry.metrics();
    },
    contentType: registry.contentType,
    open,
    recent: times.fast,
  };
}

interface Ring extends RecentDeliveries {
  add(ms: number): void;
  /** Observes those that were not yet. */
  tell(): void;
}

/** @param observe is called for each, in order, some time later */
function createRing(observe: (ms: number) => void): Ring {
  const values = new Float64Array(RING);
  let total = 0;
  let told = 0;
  const tell = (): void => {
    while (told < total) observe(values[told++ % RING]!);
  };
  return {
    tell,
    get total() {
      return total;
    },
    add(ms) {
      if (total - told === RING) tell();
      values[total++ % RING] = ms;
    },
    newest(most) {
      const count = Math.min(most, total, RING);
      return Array.from({ length: count }, (_, at) => values[(total - 1 - at) % RING]!).sort((a, b) => a - b);
    },
  };
}
