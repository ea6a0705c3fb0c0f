/**
 * The embedded Postgres: attaches to the server of a directory, or starts it. For development, demos and tests;
 * production is DATABASE_URL, and then nothing here is loaded.
 * Promises: works as root or not, also in several processes at once (they share one server); however a process ends, the
 * server stops, cleanly, after the last of them; no acknowledged row is lost (unless `fast`); changes nothing on the
 * host. Installs no signal handler: whoever starts it, stops it, after closing its own pool.
 */
import { closeSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, TidingsError } from "../errors.ts";
import { findBinaries } from "./binaries.ts";
import { ensureCluster, readSecret, sweep } from "./cluster.ts";
import { heldBy, takeHold } from "./hold.ts";
import { findHome } from "./home.ts";
import { fifoOf, type Launch, launch } from "./launch.ts";
import { discardPidfile, type Postmaster, readPidfile, standing } from "./pidfile.ts";
import { refusal } from "./refusal.ts";

export interface EmbeddedOptions {
  /** Directory for the data (DATA_DIR); made when missing. The server's files go to `postgres/` in it. */
  readonly dir: string;
  /** Gets a sentence when something is not as one would expect. Default: silence. */
  readonly log?: (text: string) => void;
  /** Without fsync, for tests: a crash of the machine may lose the data. Default false. */
  readonly fast?: boolean;
  /** Further settings of the server, `name=value`. Without effect on one that is already running. */
  readonly flags?: readonly string[];
}

/** One hold on a running server. */
export interface Embedded {
  /** Connection string of the superuser, with its password: not for logs. Loopback only. */
  readonly url: string;
  /** True when the server was already running. */
  readonly attached: boolean;
  /** Where the server's files are; below /var/lib where `dir` is closed to the account that Postgres runs as. */
  readonly dir: string;
  /** Lets go. The last one waits until the server has stopped (at most 30 s). Idempotent. */
  stop(): Promise<void>;
}

const POLL_MS = 50;
const WAIT_MS = 60_000;
const STOP_MS = 30_000;
/** How long a server may be without its supervisor, or a zombie unreaped, before we act. */
const PATIENCE_MS = 3_000;

/**
 * Attaches to the server of `dir`, or starts it: 0.1 s, the first time 0.6 s.
 * @throws TidingsError `configuration`, naming DATABASE_URL as the way out
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  try {
    return await open(options);
  } catch (error) {
    if (error instanceof TidingsError) throw error;
    throw refusal(`The embedded Postgres cannot use ${options.dir} (${describe(error)})`, error);
  }
}

async function open({ dir, log = () => {}, fast = false, flags = [] }: EmbeddedOptions): Promise<Embedded> {
  const home = await findHome(dir, fast, log);
  const binaries = await findBinaries(home.account, log);
  const request: Launch = { home, binaries, fast, flags, data: join(home.path, `data-${binaries.major}`) };
  const waitedFor = stopwatch();
  sweep(home);
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline; await sleep(POLL_MS)) {
    const found = readPidfile(request.data);
    const state = found ? standing(found) : "gone";
    if (found && state === "alive") {
      const attached = await attach(request, found);
      if (attached) return attached;
      if (found.ready && waitedFor(`orphan ${found.pid}`) > PATIENCE_MS) {
        stopOrphan(found, log);
        waitedFor("it to stop");
      }
      continue;
    }
    // Postgres itself would refuse to start beside a zombie, or beside another program under its old pid.
    if (found && state === "unsettled" && waitedFor(`unsettled ${found.pid}`) < PATIENCE_MS) continue;
    if (found && state !== "gone") {
      log(`postmaster.pid names pid ${found.pid}, which is no longer the database: removed`);
      discardPidfile(request.data, found);
    }
    await ensureCluster(home, request.data, binaries, fast);
    const launched = await launch(request, (server) => hold(request, server, false));
    if (launched) return launched;
  }
  const blocker = readPidfile(request.data)?.pid;
  throw refusal(`The database in ${home.path} is in use by a server (pid ${blocker}) that neither answers nor stops`);
}

/** Milliseconds since the same condition was first seen without another in between. */
function stopwatch(): (condition: string) => number {
  let last = "";
  let since = 0;
  return (condition) => {
    if (condition !== last) since = Date.now();
    last = condition;
    return Date.now() - since;
  };
}

/** A server whose supervisor was killed: nobody would ever stop it. */
function stopOrphan(server: Postmaster, log: (text: string) => void): void {
  log(`the embedded database (pid ${server.pid}) has lost its supervisor: restarting it`);
  try {
    process.kill(server.pid, "SIGINT");
  } catch {
    // gone by itself
  }
}

async function attach(request: Launch, server: Postmaster): Promise<Embedded | null> {
  if (!server.ready) return null;
  const held = hold(request, server, true);
  if (held && (await answers(server.port))) return held;
  await held?.stop();
  return null;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

function hold({ home, data }: Launch, server: Postmaster, attached: boolean): Embedded | null {
  const fifo = fifoOf(home, server);
  const fd = takeHold(fifo);
  if (fd === null) return null;
  let stopped: Promise<void> | undefined;
  const release = async (): Promise<void> => {
    closeSync(fd);
    const deadline = Date.now() + STOP_MS;
    const stays = (): boolean => ["alive", "unsettled"].includes(standing(server));
    while (stays() && heldBy(fifo) !== "somebody" && Date.now() < deadline) await sleep(10);
  };
  return {
    url: `postgres://postgres:${readSecret(data)}@127.0.0.1:${server.port}/postgres`,
    attached,
    dir: home.path,
    stop: () => {
      stopped ??= release();
      return stopped;
    },
  };
}
