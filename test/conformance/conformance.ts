/**
 * What every runtime must do alike, as a black box: the server is a process, and these are its clients. Each runtime's
 * test file names the command that runs the sources and nothing else.
 */
import { suite, type Test } from "uvu";
import { closeClients } from "../helpers/clients.ts";
import { authentication } from "./authentication.ts";
import { drain } from "./drain.ts";
import { handshakes } from "./handshakes.ts";
import { hostile } from "./hostile.ts";
import { pings } from "./pings.ts";
import { resume } from "./resume.ts";
import { createScene, type Scene } from "./scene.ts";
import { slowReaders } from "./slow_readers.ts";

export type Rows = (test: Test, scene: Scene) => void;

/** In this order: `drain` ends the server. */
const ROWS: readonly Rows[] = [authentication, handshakes, resume, pings, hostile, slowReaders, drain];

/** Registers the suite. @param runtime the program, with its options, that runs a TypeScript source */
export function conformance(name: string, runtime: readonly string[]): void {
  const test = suite(name);
  const scene = createScene(runtime);
  test.before(() => scene.open());
  test.after.each(() => closeClients());
  test.after(() => scene.close());
  for (const rows of ROWS) rows(test, scene);
  test.run();
}
