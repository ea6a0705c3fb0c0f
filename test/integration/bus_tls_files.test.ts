// @timeout 60
/**
 * The files that BUS_URL names for TLS: an authority, and the certificate that an engine asks its clients for. On real
 * engines; mistakes are told at the start, in words that tell what to do and hold neither a password nor a key.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { recordedBus, refusal, startedBus, stopBuses } from "../helpers/bus.ts";
import { type Certificate, certificate } from "../helpers/certificate.ts";
import { type EngineName, engine } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";
import { overTls } from "../helpers/over_tls.ts";

/** What an address is given for an engine, with the client's own certificate or without. */
const trusting = ({ ca }: Certificate): string => `?sslrootcert=${ca}`;
const showing = ({ cert, key }: Certificate): string => `&sslcert=${cert}&sslkey=${key}`;

function testOver(test: Test, name: EngineName): void {
  const scheme = name === "redis" ? "rediss" : "tls";
  let folder: string;
  let files: Certificate;
  let foreign: Certificate;
  let late: Certificate;

  test.before(() => {
    folder = mkdtempSync(join(tmpdir(), "tidings-bus-"));
    files = certificate();
    foreign = certificate();
    late = certificate("IP:127.0.0.1", { days: -1, like: files });
  });
  test.after.each(stopBuses);
  test.after(() => {
    for (const one of [files, foreign, late]) one.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  test("an engine that asks for a certificate gets the one in the address, whatever the files are called", async () => {
    const server = await engine(name, { tls: files, asksClients: true });
    const odd = join(folder, "a+b ä@c,d=e");
    mkdirSync(odd);
    for (const [from, to] of [
      [files.cert, "cert"],
      [files.key, "key"],
      [files.ca, "ca"],
    ] as const) {
      copyFileSync(from, join(odd, to));
    }
    try {
      const bus = await startedBus(`${server.url}?sslkey=${odd}/key&sslrootcert=${odd}/ca&sslcert=${odd}/cert`);
      await bus.subscribe("user_1");
      await bus.publish([{ group: "user_1", text: "heard" }]);
      await eventually(() => bus.messages.length === 1);
      assert.equal(bus.errors, []);
    } finally {
      await stopBuses();
      await server.stop();
    }
  });

  test("one that gets none, a foreign one or an expired one refuses it with what to do", async () => {
    const server = await engine(name, { tls: files, asksClients: true });
    const asked = /refuses \(.*\): it asks for a client certificate, give one \(\?sslcert=FILE&sslkey=FILE/;
    const other = /refuses \((unknown ca|bad certificate|certificate expired)\): give a certificate in sslcert/;
    try {
      // several times each: what the engine says is easily lost when it hangs up
      for (let round = 0; round < 8; round++) {
        assert.match((await refusal(`${server.url}${trusting(files)}`)).message, asked);
        assert.match((await refusal(`${server.url}${trusting(files)}${showing(foreign)}`)).message, other);
      }
      assert.match((await refusal(`${server.url}${trusting(files)}${showing(late)}`)).message, other);
    } finally {
      await server.stop();
    }
  });

  test("an authority in the address is the only one that is trusted", async () => {
    const server = await engine(name, { tls: files });
    try {
      await startedBus(`${server.url}${trusting(files)}`);
      assert.match(
        (await refusal(`${server.url}${trusting(foreign)}`)).message,
        /refuses \(.*certificate.*sslrootcert/,
      );
    } finally {
      await stopBuses();
      await server.stop();
    }
  });

  test("files that are renewed are taken at the next connection, once they fit each other", async () => {
    const renewed: Certificate = {
      ...{ cert: join(folder, "cert"), key: join(folder, "key"), ca: join(folder, "ca") },
      remove: () => {},
    };
    const put = (from: Certificate, ...kinds: ("cert" | "key" | "ca")[]): void => {
      for (const kind of kinds) copyFileSync(from[kind], renewed[kind]);
    };
    put(files, "cert", "key", "ca");
    const old = await engine(name, { tls: files, asksClients: true });
    const bus = await startedBus(`${old.url}${trusting(renewed)}${showing(renewed)}`);
    await old.stop();
    put(foreign, "cert", "ca");
    const server = await engine(name, { tls: foreign, asksClients: true, port: old.port });
    try {
      await eventually(() => bus.errors.some(({ message }) => /sslkey that is not the key of/.test(message)));
      put(foreign, "key");
      await eventually(() => bus.up, { deadlineMs: 10_000 });
      assert.equal(bus.states, ["up", "down", "up"]);
    } finally {
      await stopBuses();
      await server.stop();
    }
  });

  test("files and parameters that will not do are a mistake, which shows no secret", async () => {
    const file = (title: string, text: string): string => {
      writeFileSync(join(folder, title), text);
      return join(folder, title);
    };
    const key = readFileSync(files.key, "utf8");
    const locked = join(folder, "locked");
    const line = `ec -in ${files.key} -aes256 -passout pass:pw -out ${locked}`;
    execFileSync("openssl", line.split(" "), { stdio: "pipe" });
    const junk = file("junk", "junk");
    const pair = showing(files).slice(1);
    const cases: readonly (readonly [string, RegExp])[] = [
      [`sslcert=${folder}/none&sslkey=${files.key}`, /as sslcert that cannot be read \(ENOENT: no such file or dir/],
      [`sslcert=${files.cert}&sslkey=${folder}`, /as sslkey that cannot be read \(EISDIR: /],
      [`sslrootcert=${folder}/none`, /as sslrootcert that cannot be read/],
      [`sslrootcert=${junk}`, /as sslrootcert that holds no certificate in PEM/],
      [`sslcert=${junk}&sslkey=${files.key}`, /as sslcert that holds no certificate in PEM/],
      [`sslcert=${files.cert}&sslkey=${junk}`, /as sslkey that holds no private key in PEM/],
      [
        `sslcert=${files.cert}&sslkey=${locked}`,
        /as sslkey that holds no private key in PEM, or one with a passphrase/,
      ],
      [`sslcert=${files.cert}&sslkey=${foreign.key}`, /sslkey that is not the key of the one in sslcert/],
      // the key itself in place of its path, and with a NUL
      [`sslcert=${files.cert}&sslkey=${encodeURIComponent(key)}`, /as sslkey that cannot be read/],
      [`sslcert=${files.cert}&sslkey=${encodeURIComponent(key)}%00`, /as sslkey that cannot be read \(no path\)/],
      [`sslcert=${files.cert}`, /has one of sslcert and sslkey: give both/],
      [`sslkey=${files.key}`, /has one of sslcert and sslkey: give both/],
      [`${pair}&sslcert=${files.cert}`, /each once/],
      [`${pair}&sslmode=verify-full`, /takes the parameters sslrootcert, sslcert, sslkey, /],
      ["s3cret@host", /takes the parameters .* write a \? elsewhere as %3F/],
      ["sslrootcert", /takes the parameters/],
      ["sslrootcert=", /takes the parameters/],
      ["sslrootcert=/100%", /a % in sslrootcert .*: write %25/],
    ];
    const secrets = ["s3cret", key, ...key.split("\n").slice(1, -2)];
    for (const [parameters, told] of cases) {
      const { message } = await refusal(`${scheme}://ann:s3cret@127.0.0.1:1?${parameters}`, { secrets });
      assert.match(message, told);
      assert.match(message, /^BUS_URL \(not shown\) /);
    }
    const clear = await refusal(`${name}://ann:s3cret@127.0.0.1:1?${pair}`, { secrets });
    assert.match(clear.message, /has sslcert, sslkey, but no TLS: begin it with rediss:/);
  });

  if (name === "nats") {
    test("several servers share the parameters, and one that is away or has no TLS is passed over", async () => {
      const server = await engine(name, { tls: files, asksClients: true, user: "ann", password: "a,b?c" });
      const plain = await engine(name);
      const hosts = [`127.0.0.1:${server.port}`, "127.0.0.1:1", `127.0.0.1:${plain.port}`, "[::1]:1"];
      const user = `ann:${encodeURIComponent("a,b?c")}`;
      try {
        // the order is left to chance
        for (let round = 0; round < 8; round++) {
          const bus = recordedBus(`tls://${user}@${hosts.join(",")}${trusting(files)}${showing(files)}`);
          await bus.start();
          assert.equal(bus.errors, []);
        }
      } finally {
        await stopBuses();
        await Promise.all([server.stop(), plain.stop()]);
      }
    });
  }
}

overTls("the files of a bus over TLS", testOver);
