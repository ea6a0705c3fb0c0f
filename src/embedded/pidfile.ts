/**
 * Reads `postmaster.pid`, Postgres' own account of who serves a data directory, and judges whether it is still true.
 * A pid alone proves nothing: after a crash it may be a zombie, or (in a container, after a restart) another program.
 */
import { spawnSync } from "node:child_process";
import { linkSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";

/** What the file says. */
export interface Postmaster {
  /** 0 while the file is being written, or when a crash left it empty. */
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
  /** The data directory as the server was given it: a bind mount may show it to us under another path. */
  readonly data: string;
}

/** `unsettled`: neither alive nor gone, which passes by itself, except where nobody reaps zombies. */
export type Standing = "alive" | "gone" | "unsettled" | "foreign";

/** The postmaster of `data` as the file tells it; null when there is no file. */
export function readPidfile(data: string): Postmaster | null {
  try {
    const lines = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
    return {
      pid: Number(lines[0]) || 0,
      data: lines[1] ?? "",
      port: Number(lines[3]) || 0,
      ready: lines[7]?.trim() === "ready",
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** True when a process with this id exists, whoever owns it. */
export function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** What the process table says of a process; null when it is gone. */
function lookUp(pid: number): { state: string; program: string; line: string } | null {
  if (process.platform === "linux") {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const state = stat.charAt(stat.lastIndexOf(")") + 2); // the name before it may hold anything
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      return { state, program: words[0] ?? "", line: words.join(" ") };
    } catch {
      return null;
    }
  }
  const ask = (...columns: string[]): string =>
    spawnSync("ps", ["-ww", "-p", String(pid), ...columns.flatMap((column) => ["-o", `${column}=`])], {
      encoding: "utf8",
    }).stdout;
  const [, state, program] = /^\s*(\S)\S*\s+(.*)/.exec(ask("stat", "comm")) ?? []; // two questions: paths may hold blanks
  return state ? { state, program: program?.trim() ?? "", line: ask("command") } : null;
}

/** Whether the postmaster that the file names is still serving. */
export function standing({ pid, data }: Postmaster): Standing {
  if (pid === 0) return "unsettled";
  const found = exists(pid) ? lookUp(pid) : null;
  if (!found) return "gone";
  // A process that is exiting loses its arguments some time before it becomes a zombie.
  if (found.state === "Z" || found.program === "") return "unsettled";
  return basename(found.program) === "postgres" && found.line.includes(data) ? "alive" : "foreign";
}

/**
 * Takes the file away when it still names `judged`. Moved before it is looked at again: another process may have
 * judged the same file, removed it and started a server since, and that server's file goes back.
 */
export function discardPidfile(data: string, judged: Postmaster): void {
  const file = join(data, "postmaster.pid");
  const aside = join(data, `stale.${process.pid}.pid`);
  try {
    renameSync(file, aside);
    const taken = Number(readFileSync(aside, "utf8").split("\n")[0]) || 0;
    if (taken !== judged.pid) linkSync(aside, file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ENOENT" && code !== "EEXIST") throw error;
  }
  rmSync(aside, { force: true });
}
