/** The environment: defaults of the contract, limits, mistakes reported together, secrets never shown. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readConfig, VARIABLES } from "../../src/config.ts";
import { TidingsError } from "../../src/errors.ts";

const test = suite("config");
const SECRET = "0123456789abcdef0123456789abcdef";
const DATABASE = "postgres://tidings:hunter2@db:5432/app";

function refusal(env: Record<string, string>): string {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof TidingsError && error.code === "configuration") return error.message;
    throw error;
  }
  throw new Error(`accepted: ${Object.keys(env).join(", ")}`);
}

test("an empty environment is the embedded database with the defaults of the contract", () => {
  assert.equal(readConfig({}), {
    port: 8000,
    host: "127.0.0.1",
    databaseUrl: undefined,
    listenUrl: undefined,
    dataDir: ".tidings",
    jwtSecret: undefined,
    jwksUrl: undefined,
    jwtIssuer: undefined,
    jwtAudience: undefined,
    origins: { allowed: [], anyLocalhost: true },
    trustProxy: 0,
    maxStreams: 50_000,
    maxStreamsPerUser: 50,
    handshakesPerIp: 0,
    smtpUrl: undefined,
    mailFrom: "tidings@localhost",
    publicUrl: undefined,
    emailDelaySeconds: 300,
    reminderSeconds: 86_400,
    domain: true,
    retentionDays: 30,
    drainSeconds: 10,
    feed: "notify",
    busUrl: undefined,
    logLevel: "info",
    warnings: [],
  });
});

test("every variable is read", () => {
  const config = readConfig({
    PORT: "0",
    HOST: "0.0.0.0",
    DATABASE_URL: DATABASE,
    LISTEN_URL: "postgresql://direct/app",
    DATA_DIR: "/var/lib/tidings",
    JWT_SECRET: SECRET,
    JWKS_URL: "https://issuer.test/jwks.json",
    JWT_ISSUER: "https://issuer.test/",
    JWT_AUDIENCE: "tidings",
    ALLOWED_ORIGINS: "https://app.test",
    TRUST_PROXY: "2",
    MAX_STREAMS: "10",
    MAX_STREAMS_PER_USER: "3",
    HANDSHAKES_PER_IP: "7",
    SMTP_URL: "smtps://u:p@mail.test",
    MAIL_FROM: "Tidings <no-reply@app.test>",
    PUBLIC_URL: "https://app.test/",
    EMAIL_DELAY_SECONDS: "0",
    REMINDER_SECONDS: "60",
    DOMAIN: "off",
    RETENTION_DAYS: "1",
    DRAIN_SECONDS: "0",
    FEED: "notify",
    LOG_LEVEL: "silent",
  });
  assert.equal(config, {
    port: 0,
    host: "0.0.0.0",
    databaseUrl: DATABASE,
    listenUrl: "postgresql://direct/app",
    dataDir: "/var/lib/tidings",
    jwtSecret: SECRET,
    jwksUrl: "https://issuer.test/jwks.json",
    jwtIssuer: "https://issuer.test/",
    jwtAudience: "tidings",
    origins: { allowed: ["https://app.test"], anyLocalhost: false },
    trustProxy: 2,
    maxStreams: 10,
    maxStreamsPerUser: 3,
    handshakesPerIp: 7,
    smtpUrl: "smtps://u:p@mail.test",
    mailFrom: "Tidings <no-reply@app.test>",
    publicUrl: "https://app.test",
    emailDelaySeconds: 0,
    reminderSeconds: 60,
    domain: false,
    retentionDays: 1,
    drainSeconds: 0,
    feed: "notify",
    busUrl: undefined,
    logLevel: "silent",
    warnings: [],
  });
});

test("the configuration is frozen all the way down", () => {
  const config = readConfig({});
  for (const part of [config, config.warnings, config.origins, config.origins.allowed])
    assert.ok(Object.isFrozen(part));
});

test("an empty or blank value counts as unset, and values are trimmed", () => {
  assert.equal(readConfig({ PORT: "", JWT_SECRET: "", DATABASE_URL: " ", DOMAIN: "  " }), readConfig({}));
  assert.is(readConfig({ PORT: " 9000\n" }).port, 9000);
});

test("all mistakes are told at once, each with its variable, its value and what is accepted", () => {
  const message = refusal({
    PORT: "eighty",
    MAX_STREAMS: "-1",
    DOMAIN: "yes",
    LOG_LEVEL: "loud",
    ALLOWED_ORIGINS: "app.test",
  });
  assert.match(message, 'PORT is "eighty": accepted is a whole number from 0 to 65535.');
  assert.match(message, 'MAX_STREAMS is "-1": accepted is a whole number from 1 to 1000000.');
  assert.match(message, 'DOMAIN is "yes": accepted is on, off.');
  assert.match(message, 'LOG_LEVEL is "loud": accepted is trace, debug, info, warn, error, fatal, silent.');
  assert.match(message, 'ALLOWED_ORIGINS: "app.test" is no origin');
  assert.is(message.split("\n").length, 6);
});

test("numbers outside their limits, fractions and other notations are refused", () => {
  for (const PORT of ["65536", "1.5", "0x50", "1e3", "+80", "8000 9000"]) assert.match(refusal({ PORT }), "PORT");
  for (const name of ["MAX_STREAMS", "MAX_STREAMS_PER_USER", "RETENTION_DAYS"]) {
    assert.match(refusal({ [name]: "0" }), name);
  }
  assert.match(refusal({ TRUST_PROXY: "true" }), "a whole number from 0 to 16");
});

test("a database of one's own without a way to check tokens is refused", () => {
  assert.match(refusal({ DATABASE_URL: DATABASE }), "neither JWT_SECRET nor JWKS_URL");
  assert.ok(readConfig({ DATABASE_URL: DATABASE, JWT_SECRET: SECRET }));
  assert.ok(readConfig({ DATABASE_URL: DATABASE, JWKS_URL: "https://issuer.test/jwks.json" }));
});

test("LISTEN goes to DATABASE_URL unless told otherwise, and LISTEN_URL alone is a mistake", () => {
  assert.is(readConfig({ DATABASE_URL: DATABASE, JWT_SECRET: SECRET }).listenUrl, DATABASE);
  assert.match(refusal({ LISTEN_URL: DATABASE }), "LISTEN_URL is set without DATABASE_URL");
});

test("a secret under 16 bytes is refused with a way to make one, under 32 it is warned of", () => {
  assert.match(refusal({ JWT_SECRET: "fifteen bytes.." }), "openssl rand -base64 48");
  assert.match(readConfig({ JWT_SECRET: "exactly 16 bytes" }).warnings.join(), "shorter than 32 bytes");
  assert.match(readConfig({ JWT_SECRET: SECRET.slice(1) }).warnings.join(), "shorter than 32 bytes");
  assert.equal(readConfig({ JWT_SECRET: SECRET }).warnings, []);
  assert.ok(readConfig({ JWT_SECRET: "éééééééé" }), "eight letters of two bytes each");
});

test("the secret is taken byte for byte, and white space around it is warned of", () => {
  const config = readConfig({ JWT_SECRET: `${SECRET}\n` });
  assert.is(config.jwtSecret, `${SECRET}\n`);
  assert.match(config.warnings.join(), "white space");
});

test("a PEM key as JWT_SECRET is refused: a public key is known to everybody", () => {
  assert.match(refusal({ JWT_SECRET: "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq\n" }), "no PEM key");
});

test("no secret is ever shown, neither in a refusal nor in a warning", () => {
  const message = refusal({
    DATABASE_URL: "mysql://u:hunter2@db",
    LISTEN_URL: "hunter2",
    JWT_SECRET: "hunter2",
    JWKS_URL: "https://u:hunter2@issuer.test",
    SMTP_URL: "http://u:hunter2@mail",
  });
  for (const name of ["DATABASE_URL", "LISTEN_URL", "JWT_SECRET", "JWKS_URL", "SMTP_URL"]) assert.match(message, name);
  assert.not.match(message, "hunter2");
  const warnings = readConfig({ JWT_SECRET: "hunter2hunter2hunter2 ", BUS_URL: "nats://u:hunter2@bus" }).warnings;
  assert.is(warnings.length, 3);
  assert.not.match(warnings.join(), "hunter2");
});

test("a feed must be one there is, and a bus needs its address, which is never shown", () => {
  assert.match(refusal({ FEED: "nats" }), 'FEED is "nats": accepted is notify, wal, bus.');
  assert.match(refusal({ FEED: "bus" }), "FEED is bus, but BUS_URL is not set");
  assert.match(refusal({ FEED: "bus", BUS_URL: "http://u:hunter2@bus" }), "BUS_URL (value not shown)");
  const { feed, busUrl, warnings } = readConfig({ FEED: "bus", BUS_URL: "nats://u:p@bus" });
  assert.equal([feed, busUrl, warnings], ["bus", "nats://u:p@bus", []]);
  assert.is(readConfig({ FEED: "wal" }).feed, "wal");
});

test("handshakes are limited by default, but not where HOST is loopback, unless asked for", () => {
  assert.is(readConfig({ HOST: "0.0.0.0" }).handshakesPerIp, 50);
  for (const HOST of ["localhost", "127.0.0.1", "::1"]) {
    assert.is(readConfig({ HOST }).handshakesPerIp, 0);
    assert.is(readConfig({ HOST, HANDSHAKES_PER_IP: "5" }).handshakesPerIp, 5);
  }
  assert.is(readConfig({ HOST: "0.0.0.0", HANDSHAKES_PER_IP: "0" }).handshakesPerIp, 0);
});

test("keys over plain http and keys for any audience are warned of", () => {
  const warnings = (JWKS_URL: string, JWT_AUDIENCE?: string): string =>
    readConfig({ JWKS_URL, JWT_AUDIENCE }).warnings.join();
  assert.match(warnings("http://issuer.test/jwks", "me"), "plain http");
  assert.match(warnings("https://issuer.test/jwks"), "JWT_AUDIENCE");
  assert.is(warnings("https://issuer.test/jwks", "me"), "");
  assert.is(warnings("http://127.0.0.1:8080/jwks", "me"), "");
});

test("every variable is documented in one sentence, and its own default is accepted", () => {
  for (const [name, { help, accepts, fallback, check }] of Object.entries(VARIABLES)) {
    assert.match(help, /\.$/, name);
    assert.ok(accepts.length > 0, name);
    assert.not.match(help + accepts, /[\n|]/, `${name} fits a table cell`);
    if (fallback !== undefined) assert.ok(check(fallback), name);
  }
  assert.is(Object.keys(VARIABLES).length, 25);
});

test.run();
