/**
 * Every environment variable, once: its default, what it accepts, what it is for. The README's table and
 * `tidings serve --help` are made from VARIABLES. Pure: reads the record it is given, never the process.
 * Promises: all mistakes are reported together, each naming its variable and what is accepted; no secret is echoed.
 * An empty value counts as unset, as container files write it.
 */
import { type OriginPolicy, parseOrigins } from "./auth/origin.ts";
import { describe, TidingsError } from "./errors.ts";

/** One environment variable, for people and for the reader below. */
export interface Variable {
  /** What stands for it when it is unset, as text; `undefined`: nothing does. */
  readonly fallback: string | undefined;
  /** Completes "accepted is …". */
  readonly accepts: string;
  /** What it is for, one sentence. Units are named in it. */
  readonly help: string;
  /** May hold a password or a key: its value is never shown. */
  readonly secret: boolean;
  /** Whether this value, trimmed and not empty, is accepted. */
  readonly check: (text: string) => boolean;
}

const FEEDS = ["notify", "wal", "bus"] as const;
const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LEVELS)[number];

// biome-ignore format: one name a line would be longer than the table it belongs to
export type VariableName =
  | "PORT" | "HOST" | "DATABASE_URL" | "LISTEN_URL" | "DATA_DIR" | "JWT_SECRET" | "JWKS_URL" | "JWT_ISSUER" | "JWT_AUDIENCE"
  | "ALLOWED_ORIGINS" | "TRUST_PROXY" | "MAX_STREAMS" | "MAX_STREAMS_PER_USER" | "HANDSHAKES_PER_IP" | "SMTP_URL" | "MAIL_FROM"
  | "PUBLIC_URL" | "EMAIL_DELAY_SECONDS" | "REMINDER_SECONDS" | "DOMAIN" | "RETENTION_DAYS" | "DRAIN_SECONDS" | "FEED" | "BUS_URL" | "LOG_LEVEL";

/** All variables, in the order of the documentation. */
export const VARIABLES: Readonly<Record<VariableName, Variable>> = Object.freeze({
  PORT: whole(8000, 0, 65_535, "Port to listen on; 0 takes any free one."),
  HOST: text("127.0.0.1", "an address or host name", /^[^\s/]+$/, "Address to listen on; 0.0.0.0 for all."),
  DATABASE_URL: hidden(
    "a postgres:// address",
    isPostgres,
    "The database; unset: an embedded Postgres kept in DATA_DIR.",
  ),
  LISTEN_URL: hidden(
    "a postgres:// address",
    isPostgres,
    "A direct connection for LISTEN, where DATABASE_URL is a pooler.",
  ),
  DATA_DIR: text(".tidings", "a directory", /./, "Where the embedded database and its token secret are kept."),
  JWT_SECRET: hidden(
    "at least 16 bytes, better 32 (make one: openssl rand -base64 48), and no PEM key",
    (value) => bytesOf(value) >= 16 && !value.includes("-----BEGIN"),
    "Shared secret of HS256 tokens; made once and kept on the embedded database.",
  ),
  JWKS_URL: hidden("an http(s) address without a password", isKeyAddress, "JWK set with the public keys of tokens."),
  JWT_ISSUER: text(undefined, "a text", /./, "The `iss` that tokens must have; unset: any."),
  JWT_AUDIENCE: text(undefined, "a text", /./, "The `aud` that tokens must have; unset: any."),
  ALLOWED_ORIGINS: text(
    undefined,
    "a comma list of origins such as https://app.example.com, or *",
    /./,
    "Pages that may open streams; unset: this host and port, and any localhost port on the embedded database; * admits tokens, never the cookie.",
  ),
  TRUST_PROXY: whole(0, 0, 16, "How many proxies in front of the server set X-Forwarded-* headers."),
  MAX_STREAMS: whole(50_000, 1, 1_000_000, "Open streams on this instance."),
  MAX_STREAMS_PER_USER: whole(50, 1, 100_000, "Open streams of one user on this instance; the newest is refused."),
  HANDSHAKES_PER_IP: whole(
    50,
    0,
    100_000,
    "New streams per second and client address; 0: no limit, the default where HOST is loopback.",
  ),
  SMTP_URL: hidden(
    "an smtp:// or smtps:// address",
    (value) => /^smtps?:\/\/./.test(value),
    "Mail server; unset: no e-mail is sent.",
  ),
  MAIL_FROM: text("tidings@localhost", "a mail address", /^[^\r\n]*[^\s@]+@[^\s@]+$/, "Sender of e-mail."),
  PUBLIC_URL: text(
    undefined,
    "an http(s) address",
    /^https?:\/\/[^\s]+$/,
    "Where browsers reach this server, for links in e-mail (unsubscribe); unset: none, but its own address on the embedded database.",
  ),
  EMAIL_DELAY_SECONDS: whole(300, 0, 2_592_000, "Seconds a notification stays unread before it is e-mailed."),
  REMINDER_SECONDS: whole(86_400, 0, 31_536_000, "Seconds before its due time that a task's reminder is sent."),
  DOMAIN: choice("on", ["on", "off"], "The reference domain (users, friends, invites, rooms, tasks)."),
  RETENTION_DAYS: whole(30, 1, 36_500, "Days that entries are kept."),
  DRAIN_SECONDS: whole(10, 0, 3_600, "Seconds over which a shutdown spreads the end of its streams."),
  FEED: choice("notify", FEEDS, "How instances hear of new entries: NOTIFY, logical decoding, or a message bus."),
  BUS_URL: hidden(
    "a redis://, rediss://, valkey://, nats:// or tls:// address",
    (value) => /^(redis|rediss|valkey|valkeys|nats|tls):\/\/./i.test(value),
    "Address of the message bus, for FEED=bus: Redis, Valkey or NATS; with TLS, files as ?sslrootcert=, sslcert=, sslkey=.",
  ),
  LOG_LEVEL: choice("info", LEVELS, "The least severe log lines that are written."),
});

type Env = Readonly<Record<string, string | undefined>>;

/** The settings of one server, read and checked. Frozen. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** `undefined`: the embedded database. */
  readonly databaseUrl: string | undefined;
  /** Where to LISTEN: LISTEN_URL, else DATABASE_URL. */
  readonly listenUrl: string | undefined;
  readonly dataDir: string;
  /** `undefined` together with `jwksUrl` only on the embedded database, which keeps a secret of its own. */
  readonly jwtSecret: string | undefined;
  readonly jwksUrl: string | undefined;
  readonly jwtIssuer: string | undefined;
  readonly jwtAudience: string | undefined;
  readonly origins: OriginPolicy;
  /** Number of proxies whose X-Forwarded-* headers count. */
  readonly trustProxy: number;
  readonly maxStreams: number;
  readonly maxStreamsPerUser: number;
  /** Per second; 0: no limit. */
  readonly handshakesPerIp: number;
  readonly smtpUrl: string | undefined;
  readonly mailFrom: string;
  /** Without a slash at its end. */
  readonly publicUrl: string | undefined;
  readonly emailDelaySeconds: number;
  readonly reminderSeconds: number;
  /** Whether the reference domain is on. */
  readonly domain: boolean;
  readonly retentionDays: number;
  readonly drainSeconds: number;
  readonly feed: (typeof FEEDS)[number];
  /** Set where `feed` is `bus`. */
  readonly busUrl: string | undefined;
  readonly logLevel: LogLevel;
  /** What is accepted but unwise or without effect, one sentence each, to be logged at start. Holds no secret. */
  readonly warnings: readonly string[];
}

/**
 * Reads and checks the environment.
 * @throws `configuration`, one line for every mistake
 */
export function readConfig(env: Env): Config {
  const mistakes = mistakesIn(env);
  const embedded = setting(env, "DATABASE_URL") === undefined;
  const origins = attempt(() => parseOrigins(setting(env, "ALLOWED_ORIGINS") ?? "", embedded), mistakes);
  if (origins === undefined || mistakes.length > 0) {
    throw new TidingsError(
      "configuration",
      `The configuration is refused:\n${mistakes.map((m) => `- ${m}`).join("\n")}`,
    );
  }
  return configOf(env, origins);
}

function configOf(env: Env, origins: OriginPolicy): Config {
  const get = (name: VariableName): string | undefined => setting(env, name) ?? VARIABLES[name].fallback;
  const number = (name: VariableName): number => Number(get(name));
  const host = get("HOST")!;
  return Object.freeze({
    port: number("PORT"),
    host,
    databaseUrl: get("DATABASE_URL"),
    listenUrl: get("LISTEN_URL") ?? get("DATABASE_URL"),
    dataDir: get("DATA_DIR")!,
    jwtSecret: get("JWT_SECRET"),
    jwksUrl: get("JWKS_URL"),
    jwtIssuer: get("JWT_ISSUER"),
    jwtAudience: get("JWT_AUDIENCE"),
    origins,
    trustProxy: number("TRUST_PROXY"),
    maxStreams: number("MAX_STREAMS"),
    maxStreamsPerUser: number("MAX_STREAMS_PER_USER"),
    // Behind a proxy on the same machine every client has the same loopback address.
    handshakesPerIp: isLoopback(host) && !setting(env, "HANDSHAKES_PER_IP") ? 0 : number("HANDSHAKES_PER_IP"),
    smtpUrl: get("SMTP_URL"),
    mailFrom: get("MAIL_FROM")!,
    publicUrl: get("PUBLIC_URL")?.replace(/\/+$/, ""),
    emailDelaySeconds: number("EMAIL_DELAY_SECONDS"),
    reminderSeconds: number("REMINDER_SECONDS"),
    domain: get("DOMAIN") === "on",
    retentionDays: number("RETENTION_DAYS"),
    drainSeconds: number("DRAIN_SECONDS"),
    feed: get("FEED") as Config["feed"],
    busUrl: get("BUS_URL"),
    logLevel: get("LOG_LEVEL") as LogLevel,
    warnings: Object.freeze(warningsIn(env)),
  });
}

/** The value as it counts: trimmed, empty is unset. The secret is taken byte for byte: its issuer signs with all of it. */
function setting(env: Env, name: VariableName): string | undefined {
  const value = name === "JWT_SECRET" ? env[name] : env[name]?.trim();
  return value === "" ? undefined : value;
}

function mistakesIn(env: Env): string[] {
  const mistakes: string[] = [];
  for (const [name, { accepts, check, secret }] of Object.entries(VARIABLES)) {
    const value = setting(env, name as VariableName);
    if (value === undefined || check(value)) continue;
    mistakes.push(`${name} ${secret ? "(value not shown)" : `is ${JSON.stringify(value)}`}: accepted is ${accepts}.`);
  }
  const has = (name: VariableName): boolean => setting(env, name) !== undefined;
  if (has("DATABASE_URL") && !has("JWT_SECRET") && !has("JWKS_URL")) {
    mistakes.push("DATABASE_URL is set, but neither JWT_SECRET nor JWKS_URL: set the one your tokens are signed with.");
  }
  if (has("LISTEN_URL") && !has("DATABASE_URL")) {
    mistakes.push("LISTEN_URL is set without DATABASE_URL: set both, or neither for the embedded database.");
  }
  if (setting(env, "FEED") === "bus" && !has("BUS_URL")) {
    mistakes.push("FEED is bus, but BUS_URL is not set: give the address of Redis, Valkey or NATS.");
  }
  return mistakes;
}

function warningsIn(env: Env): string[] {
  const [secret, jwks] = [setting(env, "JWT_SECRET"), setting(env, "JWKS_URL")];
  const warnings: string[] = [];
  const warn = (when: boolean, sentence: string): void => void (when && warnings.push(sentence));
  warn(
    secret !== undefined && bytesOf(secret) < 32,
    "JWT_SECRET is shorter than 32 bytes: a longer one (openssl rand -base64 48) cannot be guessed from a token.",
  );
  warn(
    secret !== undefined && secret.trim() !== secret,
    "JWT_SECRET begins or ends with white space, which is part of it.",
  );
  warn(
    jwks !== undefined && /^http:/i.test(jwks) && !isLoopback(new URL(jwks).hostname),
    "JWKS_URL is fetched over plain http: whoever is on the way can make valid tokens.",
  );
  warn(
    jwks !== undefined && setting(env, "JWT_AUDIENCE") === undefined,
    "JWKS_URL is set without JWT_AUDIENCE: tokens this issuer made for other applications are accepted too.",
  );
  warn(
    setting(env, "SMTP_URL") !== undefined && setting(env, "MAIL_FROM") === undefined,
    "SMTP_URL is set without MAIL_FROM: most mail servers refuse tidings@localhost.",
  );
  const feed = setting(env, "FEED") ?? "notify";
  warn(setting(env, "BUS_URL") !== undefined && feed !== "bus", `BUS_URL has no effect with FEED=${feed}.`);
  return warnings;
}

function attempt<T>(read: () => T, mistakes: string[]): T | undefined {
  try {
    return read();
  } catch (error) {
    mistakes.push(describe(error));
    return undefined;
  }
}

function whole(fallback: number, min: number, max: number, help: string): Variable {
  const check = (value: string): boolean => /^\d{1,9}$/.test(value) && Number(value) >= min && Number(value) <= max;
  return { fallback: String(fallback), accepts: `a whole number from ${min} to ${max}`, help, secret: false, check };
}

function choice(fallback: string, values: readonly string[], help: string): Variable {
  return { fallback, accepts: values.join(", "), help, secret: false, check: (value) => values.includes(value) };
}

function text(fallback: string | undefined, accepts: string, pattern: RegExp, help: string): Variable {
  return { fallback, accepts, help, secret: false, check: (value) => pattern.test(value) };
}

function hidden(accepts: string, check: (value: string) => boolean, help: string): Variable {
  return { fallback: undefined, accepts, help, secret: true, check };
}

function isPostgres(value: string): boolean {
  return /^postgres(ql)?:\/\/./.test(value);
}

/** `fetch` refuses an address with a password in it. */
function isKeyAddress(value: string): boolean {
  return /^https?:\/\//i.test(value) && URL.canParse(value) && new URL(value).username + new URL(value).password === "";
}

function isLoopback(host: string): boolean {
  return host === "localhost" || /^127(\.\d+){3}$/.test(host) || host === "::1" || host === "[::1]";
}

function bytesOf(value: string): number {
  return new TextEncoder().encode(value).length;
}
