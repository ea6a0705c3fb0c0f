/** Runs the files two at a time, then those marked `@alone` one by one, prints a line for each and the sum at the end. */
import { type FileResult, killAll, runChild } from "./child.ts";
import type { TestFile } from "./collect.ts";

interface Options {
  jobs: number;
  verbose: boolean;
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const counts = ({ passed, failed, skipped }: Totals): string =>
  `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;

function print(file: TestFile, result: FileResult, verbose: boolean): void {
  const line = `${file.name}  ${counts(result)}  ${result.seconds.toFixed(1)} s`;
  if (result.failed === 0) {
    if (verbose) process.stdout.write(`\n${result.output}`);
    process.stdout.write(`ok    ${line}\n`);
    return;
  }
  const reasons = result.reasons.map((reason) => `  ${reason}\n`).join("");
  process.stdout.write(`\n----  ${file.name}\n${result.output.trimEnd()}\n${reasons}FAIL  ${line}\n\n`);
}

/** Runs all files and prints the closing line. Returns the exit code. */
export async function runAll(files: readonly TestFile[], options: Options): Promise<number> {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
    killAll();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
  const runOne = async (file: TestFile): Promise<void> => {
    const result = await runChild(file, {});
    totals.passed += result.passed;
    totals.failed += result.failed;
    totals.skipped += result.skipped;
    print(file, result, options.verbose);
  };
  const drain = async (queue: TestFile[]): Promise<void> => {
    for (let file = queue.shift(); file && !interrupted; file = queue.shift()) await runOne(file);
  };
  const together = files.filter((file) => !file.alone);
  await Promise.all(Array.from({ length: options.jobs }, () => drain(together)));
  await drain(files.filter((file) => file.alone));
  if (interrupted) process.stdout.write("interrupted\n");
  if (totals.passed + totals.failed === 0) {
    process.stdout.write(files.length === 0 ? "no test file is selected\n" : "no test has run\n");
    totals.failed++;
  }
  if (interrupted && totals.failed === 0) totals.failed++;
  process.stdout.write(`\n${counts(totals)}\n`);
  return totals.failed === 0 ? 0 : 1;
}
