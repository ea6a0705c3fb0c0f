// @timeout 60
/** Skipped, with a reason, where there is no Bun: BUN names one, else the one on PATH is taken. */
import { spawnSync } from "node:child_process";
import { suite } from "uvu";
import { conformance } from "./conformance.ts";

const bun = process.env.BUN ?? "bun";
if (spawnSync(bun, ["--version"]).status === 0) {
  conformance("conformance on Bun", [bun, "run"]);
} else {
  const test = suite("conformance on Bun");
  process.stdout.write("conformance on Bun: skipped, there is no Bun here; BUN=/path/to/bun names one\n");
  test.skip("conformance", () => {});
  test.run();
}
