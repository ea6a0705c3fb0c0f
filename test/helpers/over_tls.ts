/** A suite for each engine that speaks TLS, skipped with what is missing where a program is. */
import { suite, type Test } from "uvu";
import { ENGINE_PACKAGES, type EngineName, engineProgram } from "./engine.ts";
import { findProgram } from "./program.ts";

export function overTls(title: string, declare: (test: Test, name: EngineName) => void): void {
  for (const name of ["redis", "nats"] as const) {
    const test = suite(`${title}, ${name}`);
    const missing = !engineProgram(name) ? ENGINE_PACKAGES[name] : !findProgram("openssl") ? "openssl" : undefined;
    if (missing === undefined) declare(test, name);
    else test.skip(`${missing} is not installed`, () => {});
    test.run();
  }
}
