/** Several instances as processes, each to be killed and replaced while the others go on. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { Memory, Report, ServerSettings } from "./server_process.ts";

export interface Server {
  readonly url: string;
  readonly pid: number;
  memory(): Promise<Memory>;
  /** Sends a signal and waits for the end; with its exit code, null where a signal ended it. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null>;
}

const running = new Set<ChildProcess>();

function report(child: ChildProcess): Promise<Report> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`the server ended with ${code}`));
    child.once("exit", ended);
    child.once("message", (message: Report) => {
      child.off("exit", ended);
      if ("failed" in message) reject(new Error(message.failed));
      else resolve(message);
    });
  });
}

/** Starts one and waits until it serves. */
export async function server(settings: ServerSettings, nodeFlags: readonly string[] = []): Promise<Server> {
  const child = fork(new URL("./server_process.ts", import.meta.url), {
    execArgv: ["--import", "tsx", ...nodeFlags],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.send(settings);
  const { url } = (await report(child).catch((error: unknown) => {
    child.kill("SIGKILL");
    throw error;
  })) as { url: string };
  return {
    url,
    pid: child.pid!,
    async memory() {
      const answer = report(child);
      child.send("memory");
      return ((await answer) as { memory: Memory }).memory;
    },
    async end(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const gone = once(child, "exit");
      child.kill(signal);
      const [code] = await gone;
      return code as number | null;
    },
  };
}

/** Kills whatever is left. */
export async function endServers(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }),
  );
}

export interface Fleet {
  readonly size: number;
  /** Addresses of those that run now. */
  urls(): string[];
  /** Kills one, unless it is dead already, and has it replaced. Resolves when it was killed. */
  kill(at: number): Promise<void>;
  /** Resolves when all run. */
  whole(): Promise<void>;
}

/** @param settings of the nth instance */
export async function fleet(size: number, settings: (at: number) => ServerSettings): Promise<Fleet> {
  const live: (Server | null)[] = await Promise.all(Array.from({ length: size }, (_, at) => server(settings(at))));
  const starting: (Promise<void> | undefined)[] = [];

  /** Postgres may be away just now: then the start fails, as it should, and whoever runs the process tries again. */
  async function restart(at: number): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        live[at] = await server(settings(at));
        return;
      } catch (error) {
        if (tries === 30) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  return {
    size,
    urls: () => live.flatMap((one) => one?.url ?? []),
    async kill(at) {
      const victim = live[at];
      if (!victim) return;
      live[at] = null;
      await victim.end("SIGKILL");
      starting[at] = restart(at);
    },
    whole: async () => void (await Promise.all(starting)),
  };
}
