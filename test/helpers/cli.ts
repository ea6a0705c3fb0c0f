/** The command line as a process of its own, run from the sources; whatever a test leaves running is ended by `endAll()`. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Cli {
  stdout(): string;
  stderr(): string;
  /** The address of its line `listening on …`. Rejects when it ends without one. */
  readonly url: Promise<string>;
  readonly exited: Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
}

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const running = new Set<ChildProcess>();

/**
 * Starts `tidings …args`. Of the test's own environment only what finds programs is passed on.
 * @param runtime the program, with its options, that runs the sources; default: the one that runs the test
 * @param program the source to run; default: the command line
 */
export function tidings(
  args: readonly string[],
  env: Record<string, string> = {},
  runtime: readonly string[] = [process.execPath, ...process.execArgv],
  program = MAIN,
): Cli {
  const { PATH = "", HOME = "", TMPDIR } = process.env;
  const inherited = { PATH, HOME, ...(TMPDIR ? { TMPDIR } : {}) };
  const child = spawn(runtime[0]!, [...runtime.slice(1), program, ...args], {
    env: { ...inherited, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let [stdout, stderr] = ["", ""];
  let listening: (url: string) => void = () => {};
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    const url = /^listening on (\S+)\n/m.exec(stdout)?.[1];
    if (url) listening(url);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const exited = new Promise<Exit>((resolve) => {
    child.once("close", (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  const url = new Promise<string>((resolve, reject) => {
    listening = resolve;
    void exited.then(({ code }) => reject(new Error(`ended with ${code} before it listened: ${stderr}`)));
  });
  // whoever waits for it holds the promise itself
  url.catch(() => {});
  return { stdout: () => stdout, stderr: () => stderr, url, exited, kill: (signal) => void child.kill(signal) };
}

/** Ends what is still running, and waits for it. */
export async function endAll(): Promise<void> {
  const ends = [...running].map((child) => new Promise((resolve) => child.once("close", resolve)));
  for (const child of running) child.kill("SIGKILL");
  await Promise.all(ends);
}
