/**
 * The child's side: loads one test file and runs what it put into uvu's queue (uvu 0.5.6: undocumented globals,
 * therefore pinned). Each begin and end is told to the parent, which holds the clock: a deadline kept in this process
 * could not fire while a test blocks it.
 */
import { register } from "node:module";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { send } from "./messages.ts";

type Run = () => Promise<[errors: string | true, ran: number, skipped: number, total: number]>;
interface UvuGlobals {
  UVU_DEFER: number;
  UVU_INDEX: number;
  UVU_QUEUE: [string | null, ...Run[]][];
}

function broken(what: string, error: unknown): void {
  process.stdout.write(`\n${what}: ${inspect(error)}\n`);
  send({ kind: "broken", reason: what });
}

function watchProcess(): void {
  process.on("unhandledRejection", (error) => broken("unhandled rejection", error));
  process.on("uncaughtException", (error) => broken("uncaught exception", error));
  // The parent is gone: nobody is listening and nobody will end what this file started.
  process.on("disconnect", () => process.exit(1));
  process.channel?.unref();
}

/** Imports the file with `uvu` replaced by uvu.ts, and returns what it queued. */
async function load(file: string): Promise<Run[]> {
  register("./uvu_hook.mjs", import.meta.url);
  const uvu = globalThis as unknown as UvuGlobals;
  uvu.UVU_DEFER = 1;
  uvu.UVU_INDEX = 0;
  uvu.UVU_QUEUE = [[null]];
  const { registered } = await import("./uvu.ts");
  await import(pathToFileURL(file).href);
  const [, ...runs] = uvu.UVU_QUEUE[0]!;
  const { tests, skipped, idle } = registered();
  for (const suite of idle)
    broken(`the suite "${suite}" is never run`, new Error("call .run() at the end of the file"));
  send({ kind: "loaded", tests, skipped });
  return runs;
}

/** Runs one test file and ends the process. */
export async function runFile(file: string): Promise<never> {
  watchProcess();
  try {
    for (const run of await load(file)) {
      const [errors] = await run();
      if (typeof errors === "string") process.stdout.write(`\n${errors}\n`);
    }
  } catch (error) {
    broken("the file failed", error);
  }
  // Rejections are reported after the microtasks of the turn that caused them.
  await new Promise((resolve) => setTimeout(resolve, 5));
  send({ kind: "done" });
  process.stdout.write("", () => process.exit(0));
  return new Promise(() => {});
}
