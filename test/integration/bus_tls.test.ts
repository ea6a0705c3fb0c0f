// @timeout 60
/**
 * FEED=bus over TLS, on real engines with certificates of their own: trusted, not trusted, for another name, expired,
 * and forgotten.
 */
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { createServer } from "node:tls";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { recordedBus, refusal, startedBus, stopBuses } from "../helpers/bus.ts";
import { type Certificate, certificate } from "../helpers/certificate.ts";
import { closeClients, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Engine, type EngineName, engine } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { overTls } from "../helpers/over_tls.ts";
import { store } from "../helpers/streams.ts";
import { endServers, type Server, server } from "../model/fleet.ts";

interface Scene {
  readonly db: TestDatabase;
  readonly bus: Engine;
  readonly wrong: Engine;
  readonly other: Certificate;
}

/** Carries a message, over a bus that was started and is stopped with the test. */
async function carries(url: string): Promise<void> {
  const bus = await startedBus(url);
  await bus.subscribe("user_1");
  await bus.publish([{ group: "user_1", text: "heard" }]);
  await eventually(() => bus.messages.length === 1);
}

const TIMING = { sweepMs: [60_000, 60_000] } as const;

function testOver(test: Test, name: EngineName): void {
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

  test("one that is not trusted is refused with what to do, and so is one that has expired", async () => {
    const expired = certificate("IP:127.0.0.1", { days: -1, like: files });
    const [bus, late] = [await engine(name, { tls: files }), await engine(name, { tls: expired })];
    try {
      const cure = /refuses \(.*certificate.*\): correct the certificate .*sslrootcert=FILE.*NODE_EXTRA_CA_CERTS/;
      assert.match((await refusal(bus.url)).message, cure);
      const { message } = await refusal(`${late.url}?sslrootcert=${files.ca}`);
      assert.match(message, /refuses \(certificate has expired\): renew its certificate, or set the clock/);
    } finally {
      await Promise.all([bus.stop("SIGKILL"), late.stop("SIGKILL")]);
      expired.remove();
    }
  });

  test("an address that forgets TLS is not served in clear text, one that has it too much is told so", async () => {
    const asks = { tls: files, asksClients: true };
    const older = { args: ["--tls-protocols", "TLSv1.2"] };
    const secure = [await engine(name, { tls: files }), await engine(name, asks)];
    if (name === "redis") secure.push(await engine(name, { ...asks, ...older }));
    const plain = [await engine(name), await engine(name, { user: "ann", password: "pw" })];
    // A NATS server says whether it has TLS, and the client does as it is asked; of Redis neither side says a word.
    const told = name === "redis" ? /speaks TLS only .*: begin it with rediss:/ : /certificate/;
    try {
      for (const { port } of secure) assert.match((await refusal(`${name}://127.0.0.1:${port}`)).message, told);
      for (const { port } of plain) {
        const { message } = await refusal(`${name === "redis" ? "rediss" : "tls"}://127.0.0.1:${port}`);
        assert.match(message, /has no TLS at the address in BUS_URL: begin it with (redis|nats):/);
      }
    } finally {
      await Promise.all([...secure, ...plain].map((one) => one.stop("SIGKILL")));
    }
  });

  test("addresses of IPv6 and names are connected to, with TLS and without", async () => {
    const six = certificate("IP:::1");
    const named = certificate("DNS:localhost");
    const engines = [
      await engine(name, { host: "::1", tls: six }),
      await engine(name, { host: "::1" }),
      await engine(name, { tls: named }),
    ];
    const [secure, plain, local] = engines as [Engine, Engine, Engine];
    try {
      assert.match(secure.url, /\[::1\]/);
      await carries(`${secure.url}?sslrootcert=${six.ca}`);
      await carries(plain.url);
      await carries(`${local.url.replace("127.0.0.1", "localhost")}?sslrootcert=${named.ca}`);
    } finally {
      await Promise.all(engines.map((one) => one.stop("SIGKILL")));
      six.remove();
      named.remove();
    }
  });

  test("buses that are stopped in the moment their engine dies throw nothing at the process", async () => {
    for (let round = 0; round < 3; round++) {
      const bus = await engine(name, { tls: files });
      await Promise.all(Array.from({ length: 5 }, () => startedBus(`${bus.url}?sslrootcert=${files.ca}`)));
      await bus.stop("SIGKILL");
      await stopBuses();
    }
  });

  if (name === "redis") {
    test("valkeys:// is TLS as rediss:// is, and valkey:// is none", async () => {
      const [secure, plain] = [await engine(name, { tls: files }), await engine(name)];
      try {
        await carries(`valkeys://127.0.0.1:${secure.port}?sslrootcert=${files.ca}`);
        await carries(`valkey://127.0.0.1:${plain.port}`);
        assert.match((await refusal(`valkeys://127.0.0.1:${secure.port}`)).message, /refuses \(.*certificate/);
        assert.match((await refusal(`valkey://127.0.0.1:${secure.port}`)).message, /or valkeys:/);
      } finally {
        await Promise.all([secure.stop("SIGKILL"), plain.stop("SIGKILL")]);
      }
    });

    test("the name in the address is sent along, for engines behind one address that are told apart by it", async () => {
      const named = certificate("DNS:localhost");
      const pair = { cert: readFileSync(named.cert), key: readFileSync(named.key) };
      const names: unknown[] = [];
      const front = createServer(pair, (socket) => {
        names.push(socket.servername);
        socket.destroy();
      });
      await new Promise<void>((resolve) => front.listen(0, "localhost", resolve));
      try {
        const { port } = front.address() as AddressInfo;
        const bus = recordedBus(`rediss://localhost:${port}?sslrootcert=${named.ca}`);
        void bus.start().catch(() => {});
        await eventually(() => names.length > 0);
        assert.is(names[0], "localhost");
      } finally {
        await stopBuses();
        front.close();
        named.remove();
      }
    });
  }
}

overTls("bus over TLS", testOver);
