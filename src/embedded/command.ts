/**
 * Runs one program to its end, as the account that Postgres runs under, in a bare environment.
 * Promises never to reject: a program that cannot be started is an outcome like any other.
 */
import { spawn } from "node:child_process";
import process from "node:process";
import type { Account } from "./account.ts";

/** How a program ended. */
export interface Outcome {
  /** Exit code, or the name of the signal, or the error code of a start that failed (`ENOENT`, `EACCES`). */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** What every child gets: no `PG*`, no locale of the host (initdb fails on one that is not installed). */
export function bareEnvironment(): Record<string, string> {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: "/", LC_ALL: "C", TZ: "UTC" };
}

/** The part of the spawn options that changes the user; nothing where no change is needed. */
export function identity(account: Account | null): { uid?: number; gid?: number } {
  return account ? { uid: account.uid, gid: account.gid } : {};
}

/**
 * Runs `file` with `args`; `input` is written to its standard input.
 * The working directory is `/`, since the current one may be closed to `account`.
 */
export function run(file: string, args: readonly string[], account: Account | null, input = ""): Promise<Outcome> {
  return new Promise((resolve) => {
    let stdout = "";
    let stderr = "";
    const failed = (error: NodeJS.ErrnoException): void =>
      resolve({ code: error.code ?? "failed", stdout, stderr: stderr || error.message });
    try {
      const child = spawn(file, args, { ...identity(account), env: bareEnvironment(), cwd: "/" });
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => {
        stderr += text;
      });
      child.on("error", failed);
      child.on("close", (code, signal) => resolve({ code: code ?? signal ?? "failed", stdout, stderr }));
      child.stdin.on("error", () => {}); // a program that never read its input: its exit code tells the story
      child.stdin.end(input);
    } catch (error) {
      failed(error as NodeJS.ErrnoException); // some errors of spawn (EPERM) are thrown, not emitted
    }
  });
}
