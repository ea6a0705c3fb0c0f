// @timeout 60
/** Skipped, with a reason, where there is no Deno: DENO names one, else the one on PATH is taken. */
import { spawnSync } from "node:child_process";
import { suite } from "uvu";
import { conformance } from "./conformance.ts";

const deno = process.env.DENO ?? "deno";
if (spawnSync(deno, ["--version"]).status === 0) {
  conformance("conformance on Deno", [deno, "run", "-A", "--no-lock"]);
} else {
  const test = suite("conformance on Deno");
  process.stdout.write("conformance on Deno: skipped, there is no Deno here; DENO=/path/to/deno names one\n");
  test.skip("conformance", () => {});
  test.run();
}
