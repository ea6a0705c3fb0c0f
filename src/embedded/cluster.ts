/**
 * Makes a data directory: initdb beside its final name, then one rename. A start that is killed halfway leaves nothing
 * that looks finished, and of several at once one wins. The owner's secret is made here and kept with the data, mode
 * 0600; access is scram only, since `trust` on loopback would make every local user the superuser.
 */
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import type { Binaries } from "./binaries.ts";
import { run } from "./command.ts";
import type { Home } from "./home.ts";
import { exists } from "./pidfile.ts";
import { refusal } from "./refusal.ts";

/** Everything is written by the account itself: root follows no link that the account could have laid. */
const CREATE = `set -e; umask 077; target=$1; shift
mkdir "$target"; cat >"$target.secret"
"$@" -D "$target" --pwfile="$target.secret"
mv "$target.secret" "$target/app.secret"`;

/** A name in `home` that tells which process made it, for `sweep`. */
export function scratch(home: Home, kind: "init" | "hold"): string {
  return join(home.path, `${kind}-${process.pid}-${randomBytes(4).toString("hex")}`);
}

/** Removes what processes that no longer exist have left behind. */
export function sweep(home: Home): void {
  for (const name of readdirSync(home.path)) {
    const pid = /^(?:init|hold|alive|closing)-(\d+)/.exec(name)?.[1];
    if (pid === undefined || exists(Number(pid))) continue;
    try {
      rmSync(join(home.path, name), { recursive: true, force: true });
    } catch {
      // an initdb that outlived its parent still writes there: next time
    }
  }
}

function flush(path: string): void {
  const fd = openSync(path, "r");
  fsyncSync(fd);
  closeSync(fd);
}

/**
 * Makes the data directory unless it is there (0.5 s).
 * @param fast without fsync
 * @throws TidingsError `configuration` with the reason that initdb gives
 */
export async function ensureCluster(home: Home, data: string, binaries: Binaries, fast: boolean): Promise<void> {
  if (existsSync(join(data, "PG_VERSION"))) return;
  const fresh = scratch(home, "init");
  const options = ["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", ...(fast ? ["--no-sync"] : [])];
  const secret = randomBytes(18).toString("base64url");
  const made = await run("/bin/sh", ["-c", CREATE, "sh", fresh, binaries.initdb, ...options], home.account, secret);
  try {
    if (made.code !== 0) throw notMade(home, `${made.code}: ${made.stderr.trim()}`);
    if (!fast) flush(join(fresh, "app.secret")); // initdb has flushed the rest
    renameSync(fresh, data);
    if (!fast) flush(dirname(data));
  } catch (error) {
    if (!existsSync(join(data, "PG_VERSION"))) throw error; // otherwise another process was faster
  } finally {
    for (const path of [fresh, `${fresh}.secret`]) rmSync(path, { recursive: true, force: true });
  }
}

function notMade(home: Home, reason: string): Error {
  const hint = /could not look up effective user ID/.test(reason)
    ? " (this uid needs a line in /etc/passwd)"
    : /could not (change|access)|Permission denied|Operation not permitted/.test(reason)
      ? " (the file system must let the directory change owner and mode)"
      : "";
  return refusal(`initdb could not make the embedded database in ${home.path}${hint}: ${reason}`);
}

/** The password of the superuser `postgres`. */
export function readSecret(data: string): string {
  return readFileSync(join(data, "app.secret"), "utf8").trim();
}
