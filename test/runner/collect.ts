/** Finds the test files of a run and what their first lines ask for. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";

const FOLDERS = ["unit", "sql", "integration", "model", "conformance", "browser"];
const DEFAULT_TIMEOUT_SECONDS = 30;
/** A file may take as long as this many of its tests' deadlines. */
const FILE_FACTOR = 10;

export interface TestFile {
  path: string;
  /** Relative to the test folder, with forward slashes. */
  name: string;
  alone: boolean;
  testTimeoutMs: number;
  fileTimeoutMs: number;
}

function describeFile(root: string, path: string): TestFile {
  const head = readFileSync(path, "utf8").split("\n", 20).join("\n");
  const mark = (word: string): RegExpMatchArray | null =>
    head.match(new RegExp(`^\\s*(?://|/?\\*+)\\s*@${word}\\b[ \\t]*(\\d*)`, "m"));
  const seconds = Number(mark("timeout")?.[1]) || DEFAULT_TIMEOUT_SECONDS;
  return {
    path,
    name: relative(root, path).split(sep).join("/"),
    alone: mark("alone") !== null,
    testTimeoutMs: seconds * 1_000,
    fileTimeoutMs: seconds * 1_000 * FILE_FACTOR,
  };
}

/** The files below `root` whose path contains one of `filters` (all files when there is none). */
export function collect(root: string, filters: readonly string[]): TestFile[] {
  const found = FOLDERS.flatMap((folder) => {
    const below = join(root, folder);
    if (!existsSync(below)) return [];
    const names = readdirSync(below, { recursive: true }).map(String).sort();
    return names.filter((name) => name.endsWith(".test.ts")).map((name) => describeFile(root, join(below, name)));
  });
  if (filters.length === 0) return found;
  return found.filter(({ name }) => filters.some((filter) => `test/${name}`.includes(filter)));
}
