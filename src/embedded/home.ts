/**
 * Where the embedded server keeps its files: `<dir>/postgres`, owned by the account it runs as and closed to all others.
 * Only that subdirectory ever changes owner, so that a DATA_DIR pointing at something else is not given away.
 * Root with a `dir` that the account cannot reach (a project below /root) gets a fixed place elsewhere, and is told.
 */
import { createHash } from "node:crypto";
import { chmodSync, lchownSync, lstatSync, mkdirSync, realpathSync, rmdirSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { type Account, accountFor } from "./account.ts";
import { run } from "./command.ts";
import { refusal } from "./refusal.ts";

export interface Home {
  /** Absolute path of the directory of the server's files. */
  readonly path: string;
  /** The account to step down to; `null` to stay who we are. */
  readonly account: Account | null;
}

/** True when this process may, and has to, change the user for Postgres. */
const isRoot = (): boolean => process.getuid?.() === 0;

function makeDirectory(path: string, mode: number): void {
  const made = mkdirSync(path, { recursive: true, mode });
  if (made !== undefined) chmodSync(path, mode); // the umask had its say in mkdir
}

function claim(base: string): Home {
  makeDirectory(base, 0o711);
  const path = join(realpathSync(base), "postgres");
  makeDirectory(path, 0o700);
  const found = lstatSync(path);
  if (!found.isDirectory()) throw refusal(`${path} is in the way of the embedded database: remove it`);
  if (!isRoot()) {
    if (found.uid === process.getuid?.()) return { path, account: null };
    throw refusal(
      `${path} belongs to another user (uid ${found.uid}): remove it, or name another directory in DATA_DIR`,
    );
  }
  const account = accountFor(found.uid);
  if (found.uid !== account.uid) lchownSync(path, account.uid, account.gid);
  return { path, account };
}

async function reachable({ path, account }: Home): Promise<boolean> {
  return account === null || (await run("/bin/sh", ["-c", 'cd "$1"', "sh", path], account)).code === 0;
}

/** The place for a `dir` that cannot be reached. Not below /var/tmp where the data matter: that is swept by age. */
function elsewhere(dir: string, passing: boolean): string {
  const name = `tidings-${createHash("sha256").update(dir).digest("hex").slice(0, 12)}`;
  const base = join(passing ? "/var/tmp" : "/var/lib", name);
  makeDirectory(base, 0o711);
  const found = lstatSync(base);
  if (found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0) return base;
  throw refusal(`${base} was made by somebody else: remove it`);
}

/**
 * Makes the directory of the server, or finds it.
 * @param passing the data are not meant to last (tests): a fallback goes below /var/tmp
 * @throws TidingsError `configuration`, or the error of the file system
 */
export async function findHome(dir: string, passing: boolean, log: (text: string) => void): Promise<Home> {
  const wanted = resolve(dir);
  const home = claim(wanted);
  if (await reachable(home)) return home;
  try {
    rmdirSync(home.path);
  } catch {
    // not empty: it was reachable once, and stays as it is
  }
  const other = claim(elsewhere(wanted, passing));
  log(`${wanted} is closed to the account ${home.account?.name}: the embedded database is in ${other.path}`);
  if (await reachable(other)) return other;
  throw refusal(`Neither ${wanted} nor ${other.path} can be reached by the account ${other.account?.name}`);
}
