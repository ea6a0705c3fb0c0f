// @timeout 60
/**
 * What trying again does not cure: `start()` of a bus says so, in words that tell what to do and hold no password.
 * On real engines; where one is not installed, its tests are skipped.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TidingsError } from "../../src/errors.ts";
import { refusal as refusalOf, startedBus, stopBuses } from "../helpers/bus.ts";
import { ENGINE_PACKAGES, type Engine, type EngineName, engine, engineProgram } from "../helpers/engine.ts";
import { eventually } from "../helpers/eventually.ts";

const SECRET = "s3cr%t:/@ä";
const run = promisify(execFile);
const root = fileURLToPath(new URL("../../", import.meta.url));
const mistakes = suite("mistakes of a bus");
mistakes.after.each(stopBuses);

const refusal = (url: string, prefix = "test"): Promise<TidingsError> => refusalOf(url, { prefix, secrets: [SECRET] });

mistakes("an unknown scheme, an address that is none and a prefix that is none are refused", async () => {
  for (const url of ["", "kafka://a", "constructor://a", "redis", "http://127.0.0.1"]) {
    assert.match((await refusal(url)).message, /BUS_URL must begin with one of redis:\/\//);
  }
  for (const url of [`redis://user:${encodeURIComponent(SECRET)}@host:99999`, "redis://", "nats://", "nats://a:b"]) {
    assert.match((await refusal(url)).message, /BUS_URL \(not shown\) is not an address/);
  }
  assert.match((await refusal(`nats://user:${SECRET}@127.0.0.1`)).message, /BUS_URL \(not shown\)/);
  assert.match((await refusal("redis://user:100%@127.0.0.1")).message, /write %25/);
  for (const prefix of ["", "a b", "a:b", "a.*", ".a", "a..b", "ä"]) {
    assert.match((await refusal("redis://127.0.0.1:1", prefix)).message, /prefix/);
  }
});

mistakes("a client package that is not installed is named, with the command that installs it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "tidings-bus-"));
  try {
    mkdirSync(join(folder, "src"));
    for (const name of ["bus", "errors.ts", "backoff.ts", "deadline.ts", "keeper.ts"]) {
      cpSync(join(root, "src", name), join(folder, "src", name), { recursive: true });
    }
    const program = `
      import { openBus } from "./src/bus/bus.ts";
      for (const url of ["redis://127.0.0.1:1", "nats://127.0.0.1:1"]) {
        const bus = openBus({ url, prefix: "test", onMessage() {}, onUp() {}, onDown() {} });
        await bus.start().catch((error) => console.log(error.code, error.message));
      }`;
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(join(folder, "main.ts"), program);
    const { stdout } = await run(process.execPath, ["--import", import.meta.resolve("tsx"), "main.ts"], {
      cwd: folder,
    });
    const [redis, nats, ...rest] = stdout.trim().split("\n");
    assert.match(redis!, /^configuration BUS_URL needs the package redis, .*: npm install redis$/);
    assert.match(nats!, /^configuration BUS_URL needs .*: npm install @nats-io\/transport-node$/);
    assert.equal(rest, []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Runs a test with a server of its own; skipped where the program is missing. */
function on(
  name: EngineName,
  title: string,
  options: Parameters<typeof engine>[1],
  act: (server: Engine) => Promise<void>,
): void {
  const full = `${name}: ${title}`;
  if (!engineProgram(name)) {
    console.log(`${full}: skipped, apt-get install ${ENGINE_PACKAGES[name]}`);
    mistakes.skip(full, () => {});
    return;
  }
  mistakes(full, async () => {
    const server = await engine(name, options);
    try {
      await act(server);
    } finally {
      await stopBuses();
      await server.stop();
    }
  });
}

for (const name of ["redis", "nats"] as const) {
  on(
    name,
    "credentials are used, and refused ones are a mistake",
    { user: "ann", password: SECRET },
    async (server) => {
      const bus = await startedBus(server.url);
      await bus.subscribe("user_1");
      await bus.publish([{ group: "user_1", text: "heard" }]);
      await eventually(() => bus.messages.length === 1);
      for (const url of [server.as(), server.as("ann", `${SECRET}!`), server.as("ben", SECRET), server.as("ann")]) {
        assert.match((await refusal(url)).message, /correct the user and password in BUS_URL/);
      }
    },
  );

  on(name, "credentials that are changed during an outage are tried again until they are good", {}, async (server) => {
    const bus = await startedBus(server.url);
    await server.stop();
    const strict = await engine(name, { user: "ann", password: SECRET, port: server.port });
    try {
      await eventually(() => bus.errors.some((error) => (error as TidingsError).code === "configuration"));
    } finally {
      await strict.stop();
    }
    await server.start();
    await eventually(() => bus.up);
    assert.equal(bus.states, ["up", "down", "up"]);
  });
}

const login = (user: string, rights: string): string[] => ["--user", user, "on", ">pw", ...rights.split(" ")];
const files = mkdtempSync(join(tmpdir(), "tidings-engines-"));
const nodesFile = join(files, "nodes.conf");
const redisUsers = [
  ...login("mute", "&test:* +@all -spublish"),
  ...login("deaf", "&test:* +@all -ssubscribe"),
  ...login("astray", "&other:* +@all"),
  ...login("good", "-@all +ssubscribe +sunsubscribe +spublish +ping &test:*"),
];

on(
  "redis",
  "a user without the rights is told which are needed, and those are enough",
  { args: redisUsers },
  async (server) => {
    for (const user of ["mute", "deaf", "astray"]) {
      assert.match(
        (await refusal(server.as(user, "pw"))).message,
        /NOPERM.*\+ssubscribe \+sunsubscribe \+spublish \+ping/,
      );
    }
    const bus = await startedBus(server.as("good", "pw"));
    await bus.subscribe("user_1");
    bus.unsubscribe("user_1");
    await bus.publish([{ group: "user_1", text: "" }]);
    await eventually(() => bus.up);
    assert.equal(bus.errors, []);
  },
);

on("redis", "a database number there is none of is refused", { args: ["--databases", "1"] }, async (server) => {
  assert.match((await refusal(`${server.url}/7`)).message, /leave the number at the end of BUS_URL out/);
});

on(
  "redis",
  "a node of a cluster is refused",
  { args: ["--cluster-enabled", "yes", "--cluster-config-file", nodesFile] },
  async (server) => {
    assert.match((await refusal(server.url)).message, /node of a Redis cluster/);
  },
);

const natsUser = (user: string, rights: string): string =>
  `{ user: ${user}, password: pw, permissions: { ${rights} } }`;
const natsFile = join(files, "nats.conf");
writeFileSync(
  natsFile,
  `authorization { users: [
    ${natsUser("mute", 'publish: "other.>", subscribe: "test.*"')}
    ${natsUser("deaf", 'publish: "test.*", subscribe: "other.>"')}
    ${natsUser("good", 'publish: "test.*", subscribe: "test.*"')}
  ] }\nmax_payload: 1000\n`,
);
mistakes.after(() => rmSync(files, { recursive: true, force: true }));

on(
  "nats",
  "a user without the rights is told which are needed, and those are enough",
  { args: ["-c", natsFile] },
  async (server) => {
    for (const user of ["mute", "deaf"]) {
      assert.match((await refusal(server.as(user, "pw"))).message, /publish and subscribe to PREFIX\.\*/);
    }
    const bus = await startedBus(server.as("good", "pw"));
    await bus.subscribe("user_1");
    const big = { group: "user_1", text: "x".repeat(1_001) };
    const fits = { group: "user_1", text: "x".repeat(1_000) };
    assert.equal(await bus.publish([big, fits]), [big], "the limit is the server's own");
    await eventually(() => bus.messages.length === 1);
  },
);

mistakes.run();
