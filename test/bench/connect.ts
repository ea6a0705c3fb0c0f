/** How many new streams a second: handshake, token where one is checked, until the first frame or the answer. */
import type { Bench, Contender } from "./bench.ts";
import { byName } from "./contender.ts";
import type { LoadHandlers, StreamKind } from "./load_process.ts";
import { median, table } from "./numbers.ts";
import type { Child } from "./rpc.ts";

interface Entrance {
  readonly name: string;
  readonly server: Contender;
  readonly kind: StreamKind;
  readonly path?: string;
  readonly load: Child<LoadHandlers>;
  readonly rates: number[];
  readonly cpu: number[];
}

export async function run(bench: Bench): Promise<string> {
  const streams = bench.size(2_000, 500, 20);
  const rounds = bench.size(5, 2, 1);
  const users = Array.from({ length: streams }, (_, at) => at + 1);
  const contenders = await bench.contenders();
  const entrances = contenders.flatMap((server): Entrance[] => {
    const entrance = (name: string, kind: StreamKind, path?: string): Entrance => {
      return { name, server, kind, ...(path && { path }), load: bench.load(), rates: [], cpu: [] };
    };
    const socket = entrance(server.name, server.kind);
    if (server.kind === "ws") return [socket, entrance(`${server.name}, SSE`, "sse", "/sse/notifications/")];
    return server.name === "nchan" ? [socket, entrance("nchan, SSE", "baresse", "/sse")] : [socket];
  });
  for (let round = 0; round <= rounds; round++) {
    bench.say(`connect: round ${round} of ${rounds}`);
    for (const one of entrances) {
      const targets = await one.server.targets(users, one.path);
      const cpu = await one.server.probe.cpu();
      const work = () => one.load.call("open", { group: "all", targets, kind: one.kind });
      const profiled = one.kind === "ws" && round === rounds;
      const took = await (profiled ? bench.profiled(one.server, `${streams} handshakes`, work) : work());
      if (round > 0) {
        one.rates.push((streams * 1_000) / took);
        one.cpu.push((((await one.server.probe.cpu()) - cpu) * 1_000) / streams);
      }
      await one.load.call("close", { group: "all" });
    }
  }
  const sockets = entrances.filter((one) => !one.name.endsWith("SSE"));
  const of = (list: readonly number[]): number => median(list);
  bench.figure({
    label: "WebSocket handshakes per second",
    values: byName(sockets.map((one) => [one.server, of(one.rates)] as const)),
  });
  bench.figure({
    label: "server CPU for one, µs",
    values: byName(sockets.map((one) => [one.server, of(one.cpu)] as const)),
  });
  const floor = of(entrances[0]!.rates);
  return `${streams} streams, 500 handshakes at a time from one process; ${rounds} interleaved rounds, medians. Only Tidings checks a token and reads a cursor and a count from the database.

${table(
  ["", ...entrances.map((one) => one.name)],
  [
    ["ratio to the floor", ...entrances.map((one) => of(one.rates) / floor)],
    ["handshakes per second", ...entrances.map((one) => of(one.rates))],
    ["server CPU each, µs", ...entrances.map((one) => of(one.cpu))],
  ],
)}`;
}
