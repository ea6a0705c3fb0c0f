/**
 * Processes and directories for the tests of the embedded database: children to kill, the server's own processes,
 * places that every account can reach. `cleanUp` ends and removes all of them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import * as assert from "uvu/assert";
import { TidingsError } from "../../src/errors.ts";

const script = fileURLToPath(new URL("./embedded_child.ts", import.meta.url));
export const linux = process.platform === "linux";
export const root = linux && process.getuid?.() === 0;
export const NOBODY = 65534;

export const places: string[] = [];
export const children = new Set<ChildProcess>();

/** A new directory that every account may pass through, removed at the end. */
export function place(owner?: number): string {
  const dir = mkdtempSync(join(tmpdir(), "tidings-embedded-"));
  chmodSync(dir, 0o711);
  if (owner !== undefined) chownSync(dir, owner, owner);
  places.push(dir);
  return dir;
}

interface Report {
  readonly url: string;
  readonly attached: boolean;
  readonly dir: string;
  readonly error?: string;
  readonly code?: string;
}

export interface Child {
  readonly process: ChildProcess;
  readonly report: Report;
  /** Lines after the first. */
  readonly lines: string[];
  readonly complaints: () => string;
  readonly exited: Promise<void>;
}

export async function child(mode: "hold" | "write", dir: string, uid?: number): Promise<Child> {
  const started = spawn(process.execPath, ["--import", "tsx", script, mode, dir], {
    stdio: "pipe",
    ...(uid === undefined ? {} : { uid, gid: uid, env: { ...process.env, TMPDIR: place(uid) } }),
  });
  children.add(started);
  const exited = new Promise<void>((resolve) => started.once("close", () => resolve()));
  let complaints = "";
  started.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaints += text;
  });
  const lines: string[] = [];
  let rest = "";
  started.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  });
  await until("the child to report", () => lines.length > 0 || started.exitCode !== null, 20_000);
  const first = lines.shift();
  if (first === undefined) throw new Error(`the child ended (${started.exitCode}): ${complaints}`);
  const report = JSON.parse(first) as Report;
  return { process: started, report, lines, complaints: () => complaints, exited };
}

/** Ends a child the proper way. */
export async function finish(one: Child): Promise<void> {
  one.process.stdin?.end();
  await one.exited;
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 8_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await holds()); await sleep(20)) {
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain for ${what}`);
  }
}

export async function ask<T>(url: string, question: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, connect_timeout: 3, onnotice: () => {} });
  try {
    return await question(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

export const serverPid = (url: string): Promise<number> =>
  ask(url, async (sql) => {
    const [row] = await sql<{ pid: number }[]>`
      select (regexp_match(pg_read_file('postmaster.pid'), '^\\d+'))[1]::int as pid`;
    return row?.pid ?? 0;
  });

/** True when no process is left, zombies aside (they hold nothing, and are their parent's to bury). */
export function gone(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return linux && /\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return true;
  }
}

/** The shell that waits for the server, and its watcher. */
export function supervisorOf(pid: number): { shell: number; watcher: number } {
  const shell = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
  const offspring = readFileSync(`/proc/${shell}/task/${shell}/children`, "utf8").trim().split(" ").map(Number);
  return { shell, watcher: offspring.find((one) => one !== pid) ?? 0 };
}

/** The error of an attempt that must fail. */
export async function refusedBy(attempt: () => Promise<unknown>): Promise<TidingsError> {
  try {
    await attempt();
  } catch (error) {
    assert.instance(error, TidingsError);
    return error as TidingsError;
  }
  throw new Error("it was not refused");
}

/** Runs `body` as if this machine were another one. */
export async function onPlatform<T>(platform: string, arch: string, body: () => Promise<T>): Promise<T> {
  const real = { platform: process.platform, arch: process.arch };
  const become = (values: object): void => {
    for (const [key, value] of Object.entries(values)) Object.defineProperty(process, key, { value });
  };
  become({ platform, arch });
  try {
    return await body();
  } finally {
    become(real);
  }
}

/** Ends every child and removes every place. */
export async function cleanUp(): Promise<void> {
  for (const one of children) one.kill("SIGKILL");
  await sleep(300);
  for (const dir of places) rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
