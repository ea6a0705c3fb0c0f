/**
 * One instance of the server as a process of its own, to be killed from a test. Told by its parent what to run with
 * (ServerSettings); reports its address, and on request what memory it takes. Ends when its parent does.
 */
import process from "node:process";
import v8 from "node:v8";
import { Stream } from "../../src/core/stream.ts";
import { type InstanceOptions, instance } from "../helpers/instance.ts";

export interface ServerSettings extends InstanceOptions {
  readonly databaseUrl: string;
}

export interface Memory {
  /** Bytes of the JavaScript heap in use, after a collection where node was started with --expose-gc. */
  readonly heap: number;
  readonly rss: number;
  /** Streams that are held by anything at all, with --expose-gc; undefined where Node cannot count them. */
  readonly streams: number | undefined;
  /** Milliseconds of CPU used so far. */
  readonly cpu: number;
}

export type Report = { readonly url: string } | { readonly failed: string } | { readonly memory: Memory };

const say = (report: Report): void => void process.send?.(report);

function memory(): Memory {
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
  const { heapUsed: heap, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  // walks the whole heap
  const streams = gc && v8.queryObjects?.(Stream, { format: "count" });
  return { heap, rss, streams, cpu: (user + system) / 1_000 };
}

process.on("disconnect", () => process.exit(0));
process.on("message", async (message: ServerSettings | "memory") => {
  if (message === "memory") return say({ memory: memory() });
  try {
    const { url, stop } = await instance(message.databaseUrl, message);
    process.once("SIGTERM", () => void stop().then(() => process.exit(0)));
    say({ url });
  } catch (error) {
    say({ failed: String(error) });
  }
});
