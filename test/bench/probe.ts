/**
 * Looks into a Node process through its inspector (`--inspect=127.0.0.1:0`): memory after a collection, CPU time, CPU
 * profiles. So the server is measured as it is shipped, without a hook of its own.
 */
import type { ChildProcess } from "node:child_process";
import { WebSocket } from "ws";

export interface Probe {
  /** Resident kilobytes after a forced collection. */
  rss(): Promise<number>;
  /** CPU milliseconds used so far, user and system. */
  cpu(): Promise<number>;
  /** A CPU profile as the inspector writes it; null where the process has none. */
  profile<T>(run: () => Promise<T>): Promise<{ result: T; profile: string | null }>;
  close(): void;
}

export const INSPECT = "--inspect=127.0.0.1:0";

interface Reply {
  readonly id?: number;
  readonly result?: { result?: { value?: unknown }; profile?: object };
}

/** To be called right after the process was started, before it writes to stderr. */
export async function probe(child: ChildProcess): Promise<Probe> {
  const address = await new Promise<string>((resolve, reject) => {
    let text = "";
    child.stderr!.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const found = /Debugger listening on (\S+)/.exec(text);
      if (found) resolve(found[1]!);
    });
    child.once("exit", () => reject(new Error(`the process ended at once: ${text}`)));
  });
  const socket = new WebSocket(address);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  // A process under inspection does not end before its inspector has left.
  child.stderr!.on("data", (chunk: Buffer) => {
    if (chunk.includes("Waiting for the debugger to disconnect")) socket.close();
  });
  const open = new Map<number, (reply: Reply) => void>();
  let asked = 0;
  socket.on("message", (data: Buffer) => {
    const reply = JSON.parse(data.toString()) as Reply;
    if (reply.id !== undefined) open.get(reply.id)?.(reply);
  });
  const ask = (method: string, params: object = {}): Promise<Reply> =>
    new Promise((resolve) => {
      open.set(++asked, resolve);
      socket.send(JSON.stringify({ id: asked, method, params }));
    });
  const evaluate = async (expression: string): Promise<number> =>
    (await ask("Runtime.evaluate", { expression, returnByValue: true })).result!.result!.value as number;
  return {
    async rss() {
      for (let turn = 0; turn < 3; turn++) await ask("HeapProfiler.collectGarbage");
      return (await evaluate("process.memoryUsage.rss()")) / 1024;
    },
    cpu: () => evaluate("{ const { user, system } = process.cpuUsage(); (user + system) / 1000 }"),
    async profile(run) {
      await ask("Profiler.enable");
      await ask("Profiler.setSamplingInterval", { interval: 250 });
      await ask("Profiler.start");
      const result = await run();
      return { result, profile: JSON.stringify((await ask("Profiler.stop")).result!.profile) };
    },
    close: () => socket.close(),
  };
}
