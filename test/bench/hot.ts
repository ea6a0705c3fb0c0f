/**
 * A CPU profile as a short table: self time by group of files, a package or a folder of ours, with the function that
 * takes most of it. The inspector's own work and waiting are left out.
 */
import { table } from "./numbers.ts";

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: Frame }[];
  readonly samples: readonly number[];
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[];
}

interface Frame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

const LINES = 12;

export function hotTable(json: string): string {
  const { nodes, samples, timeDeltas } = JSON.parse(json) as Profile;
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const groups = new Map<string, Map<string, number>>();
  let busy = 0;
  samples.forEach((id, at) => {
    const frame = frames.get(id)!;
    const group = groupOf(frame);
    if (!group) return;
    const functions = groups.get(group) ?? new Map<string, number>();
    groups.set(group, functions);
    const name = nameOf(frame);
    functions.set(name, (functions.get(name) ?? 0) + timeDeltas[at]!);
    busy += timeDeltas[at]!;
  });
  const sum = (functions: Map<string, number>): number => [...functions.values()].reduce((a, b) => a + b, 0);
  const rows = [...groups].sort(([, a], [, b]) => sum(b) - sum(a)).slice(0, LINES);
  const percent = (time: number): string => `${Math.round((100 * time) / busy)} %`;
  return table(
    ["the server's JavaScript", "self", "mostly"],
    rows.map(([group, functions]) => {
      const top = [...functions].sort(([, a], [, b]) => b - a).slice(0, 3);
      return [group, percent(sum(functions)), top.map(([name, time]) => `${name} ${percent(time)}`).join(", ")];
    }),
  );
}

/** Null for what is no work of the server's. */
function groupOf({ functionName, url }: Frame): string | null {
  if (["(idle)", "(root)"].includes(functionName)) return null;
  if (functionName === "(garbage collector)") return "garbage collection";
  if (url === "") return "V8 and system calls";
  const file = /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (file) return file;
  if (url.startsWith("node:")) return /inspector/.test(url) ? null : `node:${url.slice(5).split("/").pop()}`;
  return /\/(?:dist|src)\/(.+)\.[jt]s$/.exec(url)?.[1] ?? url.split("/").pop()!;
}

function nameOf({ functionName, url, lineNumber }: Frame): string {
  if (functionName === "(program)") return "native code";
  return functionName || `line ${lineNumber + 1} of ${url.split("/").pop()}`;
}
