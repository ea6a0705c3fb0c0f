/**
 * Starts the server under a small supervisor in a session of its own, so that Ctrl-C reaches us and not Postgres.
 * Promises that the server never outlives the last hold, and that losing a race (for the data directory, for the port)
 * is not an error but the answer null: look again.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Binaries } from "./binaries.ts";
import { scratch } from "./cluster.ts";
import { bareEnvironment, identity, run } from "./command.ts";
import type { Home } from "./home.ts";
import { type Postmaster, readPidfile, standing } from "./pidfile.ts";
import { refusal } from "./refusal.ts";

/**
 * $1 is the directory, $2 the fifo, the rest the command. The fifo is opened read-write first: a plain open would wait
 * for ever if its maker had died by now. Line by line the watcher reads the hellos until the end of file; then it takes
 * the name away and reads once more, and only silence stops the server. Once more, since a hold may have come in between.
 */
const SUPERVISOR = `home=$1; fifo=$2; shift 2
exec >>"$home/server.log" 2>&1 </dev/null
exec 4<>"$fifo" 3<"$fifo" 4>&-
"$@" 3<&- & server=$!
mv "$fifo" "$home/alive-$server"
{
  while :; do
    while read -r _ <&3; do :; done
    mv "$home/alive-$server" "$home/closing-$server"
    read -r _ <&3 || break
    mv "$home/closing-$server" "$home/alive-$server"
  done
  rm -f "$home/closing-$server"
  kill -INT "$server"
} & watcher=$!
exec 3<&-
wait "$server"; code=$?
kill "$watcher" 2>/dev/null
rm -f "$home/alive-$server" "$home/closing-$server"
exit "$code"`;

const SETTINGS = [
  "listen_addresses=127.0.0.1",
  "unix_socket_directories=",
  "wal_level=logical",
  "max_connections=100",
  "shared_buffers=64MB",
];
const FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

const START_MS = 60_000;
const LOG_BYTES = 5_000_000;
const LOST_RACE =
  /lock file "postmaster.pid" (already exists|is empty)|Address already in use|pre-existing shared memory/;

/** The fifo of a running server. */
export function fifoOf(home: Home, server: Postmaster): string {
  return join(home.path, `alive-${server.pid}`);
}

/** A free port: the one that this data directory always asks for, so that a restart keeps its address, else any. */
function freePort(data: string): Promise<number> {
  const wish = 20_000 + (createHash("sha256").update(data).digest().readUInt32BE() % 10_000); // below the ephemeral ones
  const attempt = (port: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const server = createServer();
      server.on("error", reject);
      server.listen(port, "127.0.0.1", () => {
        const address = server.address();
        server.close(() => resolve(typeof address === "object" && address ? address.port : port));
      });
    });
  return attempt(wish).catch(() => attempt(0));
}

/** Sizes the log, and moves it aside once it has grown too big. */
function logStart(file: string): number {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LOG_BYTES) return size;
  renameSync(file, `${file}.1`);
  return 0;
}

/** How a launch is asked for. */
export interface Launch {
  readonly home: Home;
  readonly data: string;
  readonly binaries: Binaries;
  readonly fast: boolean;
  /** Further settings, `name=value`. */
  readonly flags: readonly string[];
}

function supervise({ home, data, binaries, fast, flags }: Launch, fifo: string, port: number): { ended?: string } {
  const settings = [...SETTINGS, ...(fast ? FAST : []), ...flags].flatMap((setting) => ["-c", setting]);
  const command = [binaries.postgres, "-D", data, "-p", String(port), ...settings];
  const state: { ended?: string } = {};
  const child = spawn("/bin/sh", ["-c", SUPERVISOR, "sh", home.path, fifo, ...command], {
    ...identity(home.account),
    env: bareEnvironment(),
    cwd: "/",
    detached: true,
    stdio: "ignore",
  });
  child.on("error", (error) => {
    state.ended = error.message;
  });
  child.on("exit", (code, signal) => {
    state.ended = String(code ?? signal);
  });
  child.unref();
  return state;
}

/**
 * Starts a server and calls `adopt` with it once it accepts connections; `adopt` has to take a hold before it returns.
 * @returns what `adopt` returned, or null when somebody else was faster
 * @throws TidingsError `configuration` with the last words of the server
 */
export async function launch<T>(request: Launch, adopt: (server: Postmaster) => T | null): Promise<T | null> {
  const { home, data } = request;
  const port = await freePort(data);
  const fifo = scratch(home, "hold");
  const made = await run("mkfifo", ["-m", "600", fifo], home.account);
  if (made.code !== 0) throw refusal(`mkfifo failed in ${home.path} (${made.code}: ${made.stderr.trim()})`);
  const bridge = openSync(fifo, constants.O_RDWR); // holds until `adopt` does; a plain open would wait for the reader
  try {
    const logFile = join(home.path, "server.log");
    const from = logStart(logFile);
    const child = supervise(request, fifo, port);
    for (const deadline = Date.now() + START_MS; child.ended === undefined && Date.now() < deadline; await sleep(10)) {
      const server = readPidfile(data);
      const ours = server?.ready && server.port === port && standing(server) === "alive";
      const adopted = ours ? adopt(server) : null;
      if (adopted !== null) return adopted;
    }
    const words = statSync(logFile, { throwIfNoEntry: false }) ? readFileSync(logFile).subarray(from).toString() : "";
    if (LOST_RACE.test(words)) return null;
    const reason = /FATAL: .*/.exec(words)?.[0] ?? words.slice(-300).trim();
    throw refusal(
      `The embedded Postgres did not start (${child.ended ?? `not ready in ${START_MS / 1000} s`}): ${reason}; see ${logFile}`,
    );
  } finally {
    closeSync(bridge);
    rmSync(fifo, { force: true });
  }
}
