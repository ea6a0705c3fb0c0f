/**
 * One test file in a child process of its own, seen from the parent: holds the clock, counts what the child tells,
 * and ends the child's whole process group when it hangs, so that no server it started outlives it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { TestFile } from "./collect.ts";
import type { Message } from "./messages.ts";

export interface FileResult {
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  output: string;
  /** Why it failed, beyond its failed tests. */
  reasons: string[];
}

const RUN = fileURLToPath(new URL("../run.ts", import.meta.url));
const LOAD_MS = 30_000;
const KEPT_OUTPUT = 1_000_000;
const running = new Set<ChildProcess>();

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

/** Ends every child that still runs. */
export function killAll(): void {
  for (const child of running) killGroup(child);
}

/** Everything counted so far; a pure fold of messages. */
function createTally() {
  const reasons: string[] = [];
  let [passed, failed, ended, tests, skipped] = [0, 0, 0, 0, 0];
  let [loaded, done] = [false, false];
  let current = "loading the file";
  return {
    reasons,
    current: () => current,
    take(message: Message): void {
      if (message.kind === "loaded") {
        ({ tests, skipped } = message);
        [loaded, current] = [true, "between the tests"];
        if (tests + skipped === 0) reasons.push("the file has no tests");
      } else if (message.kind === "begin") current = `"${message.name}"`;
      else if (message.kind === "broken") reasons.push(message.reason);
      else if (message.kind === "done") done = true;
      else {
        current = `after "${message.name}"`;
        if (message.result === "passed") passed++;
        if (message.result === "failed") failed++;
        if (message.result !== "hook") ended++;
      }
    },
    /** A test that never ran has failed, and so has a file that broke outside its tests; one cause is not counted twice. */
    finish(exit: string): { passed: number; failed: number; skipped: number } {
      if (!done && reasons.length === 0) reasons.push(`the process ended early (${exit}), at ${current}`);
      if (done && !loaded && reasons.length === 0) reasons.push("the file was not loaded");
      return { passed, failed: failed + Math.max(tests - ended, reasons.length), skipped };
    },
  };
}

function start(file: TestFile, env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, RUN, "--file", file.path], {
    detached: process.platform !== "win32",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env: { ...process.env, ...env },
  });
}

function collectOutput(child: ChildProcess): () => string {
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.length > 2 * KEPT_OUTPUT) text = `… (the beginning is left out)\n${text.slice(-KEPT_OUTPUT)}`;
    });
  }
  return () => text;
}

/** Runs one file to its end or its deadline. Never rejects. */
export function runChild(file: TestFile, env: NodeJS.ProcessEnv): Promise<FileResult> {
  const started = Date.now();
  const child = start(file, env);
  running.add(child);
  const tally = createTally();
  const output = collectOutput(child);
  const expire = (reason: string): void => {
    tally.reasons.push(reason);
    killGroup(child);
  };
  let testTimer: NodeJS.Timeout | undefined;
  const rearm = (ms: number): void => {
    clearTimeout(testTimer);
    testTimer = setTimeout(() => expire(`${tally.current()} did not finish within ${ms / 1_000} s`), ms);
  };
  const late = () => expire(`the file did not finish within ${file.fileTimeoutMs / 1_000} s, at ${tally.current()}`);
  const fileTimer = setTimeout(late, file.fileTimeoutMs);
  child.on("message", (message: Message) => {
    tally.take(message);
    rearm(file.testTimeoutMs);
  });
  // A short deadline is for the tests; on a busy machine loading alone may take longer.
  rearm(Math.max(file.testTimeoutMs, LOAD_MS));
  return new Promise((resolve) => {
    let ended = false;
    const finish = (exit: string): void => {
      if (ended) return;
      ended = true;
      running.delete(child);
      clearTimeout(testTimer);
      clearTimeout(fileTimer);
      const counts = tally.finish(exit);
      resolve({ ...counts, reasons: tally.reasons, output: output(), seconds: (Date.now() - started) / 1_000 });
    };
    child.on("error", (error) => finish(error.message));
    // "close" waits for everybody who holds the output: what the file has left running is ended first.
    child.on("exit", () => killGroup(child));
    child.on("close", (code, signal) => finish(signal ?? `exit code ${code}`));
  });
}
