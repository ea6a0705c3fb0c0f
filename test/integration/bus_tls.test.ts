// @timeout 60
/** FEED=bus over TLS, on real engines with certificates of their own: trusted, not trusted, for another name, and forgotten. */
import process from "node:process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TidingsError } from "../../src/errors.ts";
import { recordedBus, stopBuses } from "../helpers/bus.ts";
import { type Certificate, certificate } from "../helpers/certificate.ts";
import { closeClients, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { ENGINE_PACKAGES, type Engine, type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { findProgram } from "../helpers/program.ts";
import { store } from "../helpers/streams.ts";
import { endServers, type Server, server } from "../model/fleet.ts";

interface Scene {
  readonly db: TestDatabase;
  readonly bus: Engine;
  readonly wrong: Engine;
  readonly other: Certificate;
}

const TIMING = { sweepMs: [60_000, 60_000] } as const;

function testOver(name: EngineName): void {
  const test = suite(`bus over TLS, ${name}`);
  let files: Certificate;

  test.before(() => {
    files = certificate();
  });
  test.after.each(async () => {
    closeClients();
    await stopBuses();
    await endServers();
  });
  test.after(() => files.remove());

  /** Node reads whom it trusts when a process starts. */
  async function start(databaseUrl: string, url: string, { ca }: Certificate): Promise<Server> {
    process.env.NODE_EXTRA_CA_CERTS = ca;
    try {
      return await server({ databaseUrl, env: { FEED: "bus", BUS_URL: url }, timing: TIMING });
    } finally {
      delete process.env.NODE_EXTRA_CA_CERTS;
    }
  }

  /** A database, an engine with a certificate for its address, and one with a certificate for `elsewhere`. */
  async function withEngines(elsewhere: string, work: (scene: Scene) => Promise<void>): Promise<void> {
    const db = await database();
    const other = certificate(elsewhere);
    const [bus, wrong] = [await engine(name, { tls: files }), await engine(name, { tls: other })];
    try {
      await work({ db, bus, wrong, other });
    } finally {
      await endServers();
      await Promise.all([bus.stop("SIGKILL"), wrong.stop("SIGKILL")]);
      await db.drop();
      other.remove();
    }
  }

  test("a certificate that is trusted carries entries between instances; one for another name does not", () =>
    withEngines("DNS:elsewhere.test", async ({ db, bus, wrong, other }) => {
      for (const { url } of [await start(db.url, bus.url, files), await start(db.url, bus.url, files)]) {
        const headers = { authorization: `Bearer ${await token(7)}` };
        const client = await socket(`${url.replace("http", "ws")}/ws/notifications/`, { headers });
        await client.find("ready");
        await store(db.sql, 7, { message: `to ${url}` });
        await client.find((frame) => frame.data?.message === `to ${url}`, 2_000);
        assert.is((await fetch(`${url}/readyz`)).status, 200);
      }
      const refusal = await start(db.url, wrong.url, other).then(() => "it started", String);
      assert.match(refusal, /refuses \(.*altnames.*\): correct the certificate/);
    }));

  if (name === "nats") {
    test("where the server asks for TLS and the address does not, the certificate must be for the address", () =>
      withEngines("DNS:localhost", async ({ db, bus, wrong, other }) => {
        const plain = ({ port }: Engine): string => `nats://127.0.0.1:${port}`;
        const { url } = await start(db.url, plain(bus), files);
        assert.is((await fetch(`${url}/readyz`)).status, 200);
        const refusal = await start(db.url, plain(wrong), other).then(() => "it started", String);
        assert.match(refusal, /refuses \(.*altnames.*\): correct the certificate/);
      }));
  }

  test("one that is not trusted is refused with what to do", async () => {
    const bus = await engine(name, { tls: files });
    const refused = recordedBus(bus.url);
    const error: TidingsError = await refused.start().then(
      () => assert.unreachable("it should have been refused"),
      (reason) => reason,
    );
    assert.is(error.code, "configuration", error.message);
    assert.match(error.message, /refuses \(.*certificate.*\): correct the certificate .*NODE_EXTRA_CA_CERTS/);
    assert.equal(refused.states, []);
    await bus.stop("SIGKILL");
  });

  test("an address that forgets TLS is not served in clear text, one that has it too much is told so", async () => {
    const [secure, plain] = [await engine(name, { tls: files }), await engine(name)];
    const schemes = name === "redis" ? ["redis", "rediss"] : ["nats", "tls"];
    // a NATS server says whether it has TLS, and the client does as it is asked; of Redis neither side says a word
    const told = name === "redis" ? [/speaks TLS, .*rediss:/, /has no TLS, .*redis:/] : [/certificate/, /'tls'/];
    for (const [at, { port }] of [secure, plain].entries()) {
      const bus = recordedBus(`${schemes[at]}://127.0.0.1:${port}`);
      void bus.start().catch(() => {});
      await eventually(() => assert.match(String(bus.errors[0]?.message), told[at]!));
      await bus.stop();
      assert.not.ok(bus.states.includes("up"));
    }
    await Promise.all([secure.stop("SIGKILL"), plain.stop("SIGKILL")]);
  });

  test.run();
}

for (const name of ["redis", "nats"] as const) {
  const missing = !engineProgram(name) ? ENGINE_PACKAGES[name] : !findProgram("openssl") ? "openssl" : undefined;
  if (missing === undefined) testOver(name);
  else {
    const test = suite(`bus over TLS, ${name}`);
    test.skip(`${missing} is not installed`, () => {});
    test.run();
  }
}
