/**
 * Child processes of the benchmark, called like objects: whatever is measured (servers, clients, writers) runs in a
 * process of its own, so that none of them waits for another's event loop.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";

type Handlers = Record<string, (args: never) => unknown>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly args: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** A running child whose handlers can be called; `H` is the type of what it passes to `serve`. */
export interface Child<H> {
  call<N extends keyof H & string>(name: N, args: ArgsOf<H[N]>): Promise<ResultOf<H[N]>>;
  /** What the child writes to stderr, for the inspector's address. */
  readonly process: ChildProcess;
  stop(): Promise<void>;
}

type ArgsOf<F> = F extends (args: infer A) => unknown ? A : never;
type ResultOf<F> = F extends (args: never) => infer R ? Awaited<R> : never;

/** In the child: answers calls by these handlers until the parent leaves. */
export function serve(handlers: Handlers): void {
  process.on("message", async ({ id, name, args }: Call) => {
    let answer: Answer;
    try {
      answer = { id, result: await handlers[name]!(args as never) };
    } catch (error) {
      answer = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send!(answer);
  });
  process.on("disconnect", () => process.exit(0));
}

/** Starts a script of this folder. */
export function startChild<H>(script: string, nodeFlags: readonly string[] = []): Child<H> {
  const child = fork(new URL(script, import.meta.url), {
    execArgv: ["--import", "tsx", ...nodeFlags],
    serialization: "advanced",
    stdio: ["ignore", "inherit", "pipe", "ipc"],
  });
  const open = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  let calls = 0;
  child.on("message", ({ id, result, error }: Answer) => {
    const waiting = open.get(id);
    open.delete(id);
    if (error !== undefined) waiting?.reject(new Error(`${script}: ${error}`));
    else waiting?.resolve(result as never);
  });
  child.on("exit", (code, signal) => {
    for (const { reject } of open.values()) reject(new Error(`${script} ended (${signal ?? code})`));
  });
  forwardErrors(child);
  return {
    process: child,
    call: (name, args) =>
      new Promise((resolve, reject) => {
        open.set(++calls, { resolve, reject });
        child.send({ id: calls, name, args } satisfies Call);
      }),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      child.disconnect();
      await gone;
    },
  };
}

/** Shows what a child complains of; the inspector's greeting is none of that. */
export function forwardErrors(child: ChildProcess): void {
  child.stderr?.on("data", (chunk: Buffer) => {
    for (const line of chunk.toString().split("\n")) {
      if (line && !/^(Debugger|For help|Waiting for the debugger)/.test(line)) process.stderr.write(`${line}\n`);
    }
  });
}
