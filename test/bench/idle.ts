/** What a stream that only waits costs in memory: resident kilobytes each, after a forced collection. */
import type { Bench, Server } from "./bench.ts";
import { table } from "./numbers.ts";

export async function run(bench: Bench): Promise<string> {
  const streams = bench.quick ? 1_000 : 3_000;
  const users = Array.from({ length: streams }, (_, at) => at + 1);
  const load = bench.load();
  const floor = await bench.floor(await bench.database());

  async function each(server: Server, kind: "bare" | "ws" | "sse"): Promise<number> {
    const open = async (count: number, group: string): Promise<void> => {
      const targets = await server.targets(users.slice(0, count), kind === "sse" ? "/sse/notifications/" : undefined);
      await load.call("open", { group, targets, kind });
    };
    // What the first connections bring with them, code and pools, is no cost of a stream.
    await open(Math.min(500, streams), "warm");
    await load.call("close", { group: "warm" });
    const before = await settled(server);
    await open(streams, "idle");
    const after = await settled(server);
    await load.call("close", { group: "idle" });
    return (after - before) / streams;
  }

  const bare = await each(floor, "bare");
  const socket = await each(await bench.tidings(await bench.database()), "ws");
  const sse = await each(await bench.tidings(await bench.database()), "sse");
  return `${streams} streams, kernel memory not counted.

${table(
  ["", "raw ws", "tidings WebSocket", "tidings SSE"],
  [
    ["ratio", "", socket / bare, sse / bare],
    ["KB a stream", bare, socket, sse],
  ],
)}`;
}

async function settled(server: Server): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  return server.probe.rss();
}
