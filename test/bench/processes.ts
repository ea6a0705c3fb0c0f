/**
 * CPU time and memory of processes that offer no hook, out of /proc. Where there is none (macOS), everything is NaN and
 * the tables show a dash.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Probe } from "./probe.ts";

const TICK_MS = 10;

interface Stat {
  readonly parent: number;
  /** Milliseconds, its own. */
  readonly cpu: number;
  /** Milliseconds of its children that have ended. */
  readonly ended: number;
}

function statOf(pid: number | string): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // the name stands in brackets and may hold anything; field 4 is the parent, 14 to 17 are the times
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    return {
      parent: fields[1]!,
      cpu: (fields[11]! + fields[12]!) * TICK_MS,
      ended: (fields[13]! + fields[14]!) * TICK_MS,
    };
  } catch {
    return null;
  }
}

/** CPU milliseconds of a process and all its children, those that have ended too. */
export function treeCpu(pid: number): number {
  const root = statOf(pid);
  if (!root) return Number.NaN;
  let sum = root.cpu + root.ended;
  for (const name of readdirSync("/proc")) {
    if (!/^\d/.test(name)) continue;
    const one = statOf(name);
    if (one?.parent === pid) sum += one.cpu + one.ended;
  }
  return sum;
}

/** Kilobytes of a process, pages shared with others in proportion. */
function memory(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "latin1"))![1]);
  } catch {
    return Number.NaN;
  }
}

function childrenOf(pid: number): number[] {
  const all = readdirSync("/proc").filter((name) => /^\d/.test(name));
  return all.filter((name) => statOf(name)?.parent === pid).map(Number);
}

/** Looks at a server of several processes from outside: these, and their children. No collection can be forced. */
export function probeFromOutside(pids: readonly number[]): Probe {
  return {
    rss: async () => {
      const all = pids.flatMap((pid) => [pid, ...childrenOf(pid)]);
      return all.reduce((sum, pid) => sum + memory(pid), 0);
    },
    cpu: async () => pids.reduce((sum, pid) => sum + treeCpu(pid), 0),
    profile: async (run) => ({ result: await run(), profile: null }),
    close() {},
  };
}
