/**
 * The project's test runner: `node --import tsx test/run.ts [-j N] [-v] [part of a path …]`.
 * Every file runs in a child process of its own, every test has a deadline (`// @timeout 120` in a file's first lines
 * changes it, in seconds), files marked `// @alone` run last and one at a time. Whatever keeps a test from passing
 * counts as failed: an import error, a throwing hook, an unhandled rejection, an early exit, a hang, a file or a run
 * without tests. Ends with the line `N passed, N failed` and exit code 0 or 1.
 */
import { fileURLToPath } from "node:url";
import { collect } from "./runner/collect.ts";
import { runFile } from "./runner/file.ts";
import { runAll } from "./runner/parent.ts";
import { withPostgres } from "./runner/postgres.ts";

interface Options {
  file?: string;
  root: string;
  jobs: number;
  verbose: boolean;
  filters: string[];
}

function parse(args: string[]): Options {
  const options: Options = { root: fileURLToPath(new URL(".", import.meta.url)), jobs: 2, verbose: false, filters: [] };
  while (args.length > 0) {
    const arg = args.shift()!;
    if (arg === "--file") options.file = args.shift() ?? "";
    else if (arg === "--root") options.root = args.shift() ?? "";
    else if (arg === "-j") options.jobs = Math.max(1, Number(args.shift()) || 1);
    else if (arg === "-v") options.verbose = true;
    else options.filters.push(arg);
  }
  return options;
}

const options = parse(process.argv.slice(2));
if (options.file !== undefined) {
  await runFile(options.file);
} else {
  const files = collect(options.root, options.filters);
  const code = await withPostgres(files, () => runAll(files, options)).catch((error: unknown) => {
    // Whoever reads only the last line must not take a run that never began for a green one.
    console.error("the Postgres of this run failed:", error);
    console.log("\n0 passed, 1 failed");
    return 1;
  });
  process.exit(code);
}
