/** What a stream that only waits costs in memory: kilobytes each, after a forced collection where one can be forced. */
import type { Bench, Contender } from "./bench.ts";
import type { StreamKind } from "./load_process.ts";
import { table } from "./numbers.ts";

export async function run(bench: Bench): Promise<string> {
  const streams = bench.size(5_000, 1_000, 20);
  const users = Array.from({ length: streams }, (_, at) => at + 1);
  const load = bench.load();

  async function each(one: Contender, kind: StreamKind, path?: string): Promise<number> {
    bench.say(`idle: ${streams} streams of ${one.name}${path ?? ""}`);
    const open = async (count: number, group: string): Promise<void> => {
      await load.call("open", { group, targets: await one.targets(users.slice(0, count), path), kind });
    };
    // What the first connections bring with them, code and pools, is no cost of a stream.
    await open(Math.min(500, streams), "warm");
    await load.call("close", { group: "warm" });
    const before = await settled(one, bench.size(1_500, 1_500, 50));
    await open(streams, "idle");
    const after = await settled(one, bench.size(1_500, 1_500, 50));
    await load.call("close", { group: "idle" });
    return (after - before) / streams;
  }

  const sockets: Record<string, number> = {};
  const sse: Record<string, number> = {};
  // Each kind on a server of its own: memory once taken is not given back.
  const tidings = async () => bench.tidings(await bench.database());
  sockets.floor = await each(await bench.floor(await bench.database()), "bare");
  sockets.tidings = await each(await tidings(), "ws");
  sse.tidings = await each(await tidings(), "sse", "/sse/notifications/");
  for (const one of await bench.rivalsStarted()) sockets[one.name] = await each(one, one.kind);
  if (sockets.nchan !== undefined) {
    const [again] = await bench.rivalsStarted(["nchan"]);
    sse.nchan = await each(again!, "baresse", "/sse");
  }
  const { floor } = sockets;
  bench.figure({ label: "memory of an idle WebSocket, KB", values: sockets, goals: [{ of: "floor", most: 1.6 }] });
  const goals = [{ of: "raw ws", most: 2.5 }];
  bench.figure({ label: "memory of an idle SSE stream, KB", values: sse, beside: { "raw ws": floor! }, goals });
  const names = [...new Set([...Object.keys(sockets), ...Object.keys(sse)])];
  const row = (label: string, of: Record<string, number>, divisor: number): (string | number)[] => [
    label,
    ...names.map((name) => (of[name] === undefined ? "" : of[name] / divisor)),
  ];
  return `${streams} streams, kernel memory not counted; a broker counts as server. The floor is raw ws.

${table(
  ["", ...names],
  [
    row("WebSocket, ratio to raw ws", sockets, floor!),
    row("SSE, ratio to raw ws", sse, floor!),
    row("KB a WebSocket", sockets, 1),
    row("KB an SSE stream", sse, 1),
  ],
)}`;
}

/** What the collector and the kernel still give back, they have given back then. */
async function settled(one: Contender, waitMs: number): Promise<number> {
  await new Promise((resolve) => setTimeout(resolve, waitMs));
  return one.probe.rss();
}
