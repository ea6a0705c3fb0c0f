/**
 * Starts Django Channels: Daphne, Redis without persistence, and a writer in Python (channels_app.py). The writer
 * inserts and then calls `group_send`, both awaited, on eight lanes; many recipients are many calls.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { eventually } from "../helpers/eventually.ts";
import { freePorts, isListening } from "../helpers/nginx.ts";
import type { Contender, Database, Workshop } from "./contender.ts";
import { probeFromOutside } from "./processes.ts";
import { forwardErrors } from "./rpc.ts";
import { stopProcess } from "./tidings.ts";
import type { Sent, Written } from "./writer_process.ts";

const SCRIPT = fileURLToPath(new URL("channels_app.py", import.meta.url));
const NEEDED = "import channels, channels_redis, daphne, asyncpg";

/** The first Python that has the packages: Debian's is not always the first on the path. */
const python = (): string | undefined =>
  ["python3", "/usr/bin/python3"].find((one) => spawnSync(one, ["-c", NEEDED], { stdio: "ignore" }).status === 0);

/** What to install; undefined where all is there. */
export function channelsMissing(): string | undefined {
  const redis = spawnSync("redis-server", ["--version"], { stdio: "ignore" }).status === 0;
  return redis && python()
    ? undefined
    : "apt install python3-django-channels python3-channels-redis daphne python3-asyncpg redis-server";
}

export async function startChannels(shop: Workshop, database: Database): Promise<Contender> {
  const run = (command: string, args: readonly string[]): ChildProcess => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    forwardErrors(child);
    shop.undo(() => stopProcess(child));
    return child;
  };
  const folder = await mkdtemp(join(tmpdir(), "tidings-redis-"));
  shop.undo(() => rm(folder, { recursive: true, force: true }));
  const [port] = await freePorts(1);
  const flags = { port, bind: "127.0.0.1", save: "", appendonly: "no", dir: folder };
  const redis = run(
    "redis-server",
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]),
  );
  redis.stdout!.resume();
  await eventually(() => isListening(port!));
  const daphne = run(python()!, [SCRIPT, "serve", String(port)]);
  const url = `ws://127.0.0.1:${await firstLine(daphne)}`;
  const call = callable(run(python()!, [SCRIPT, "write", String(port)]));
  return {
    name: "Channels",
    rival: true,
    kind: "bare",
    url,
    database,
    probe: probeFromOutside([daphne.pid!, redis.pid!]),
    targets: async (users) => users.map((user) => ({ user, url: `${url}/${user}` })),
    async write(rows) {
      const { sent, ackMs } = await call<Pick<Written, "ackMs"> & { sent: number[] }>("write", {
        ...rows,
        url: database.url,
      });
      const from = { url: database.url, from: rows.from, count: sent.length };
      return { sent: Float64Array.from(sent), ackMs, committed: await shop.writing().call("commits", from) };
    },
    burst: (rows) => call<Sent>("burst", { ...rows, url: database.url }),
    broadcast: (order) => call<Sent>("broadcast", { ...order, url: database.url }),
    shout: (n) => call<Sent>("shout", { n }),
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    createInterface(child.stdout!).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`Daphne ended with ${code}`)));
  });
}

/** Calls are answered in their order. */
function callable(child: ChildProcess): <T>(name: string, args: object) => Promise<T> {
  const waiting: { resolve(value: never): void; reject(error: Error): void }[] = [];
  createInterface(child.stdout!).on("line", (line) => {
    const { result, error } = JSON.parse(line) as { result: never; error?: string };
    const one = waiting.shift()!;
    if (error === undefined) one.resolve(result);
    else one.reject(new Error(`channels_app.py: ${error}`));
  });
  child.once("exit", (code) => {
    for (const one of waiting.splice(0)) one.reject(new Error(`channels_app.py ended with ${code}`));
  });
  return (name, args) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      child.stdin!.write(`${JSON.stringify({ name, args })}\n`);
    });
}
