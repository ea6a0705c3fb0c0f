/**
 * uvu as the test files see it while the runner runs them: the same suites, with each test and hook announced to the
 * parent. uvu alone swallows a throwing hook and says nothing of the test that is running.
 */
import { inspect } from "node:util";
import * as uvu from "uvu";
import { send } from "./messages.ts";

type Handler<T> = uvu.Callback<T>;
interface Counted {
  name: string;
  tests: number;
  only: number;
  skipped: number;
  hasRun: boolean;
}

const suites: Counted[] = [];

function testHandler<T>(name: string, handler: Handler<T>): Handler<T> {
  return async (context) => {
    send({ kind: "begin", name });
    try {
      await handler(context);
    } catch (error) {
      send({ kind: "end", name, result: "failed" });
      // uvu formats by error.stack and error.name, and breaks on anything else that was thrown.
      throw error instanceof Error ? error : new Error(`thrown: ${inspect(error)}`);
    }
    send({ kind: "end", name, result: "passed" });
  };
}

/** A throwing hook is a failure by itself: uvu keeps it to itself. `after` hooks go on, so that the others still clean up. */
function hookHandler<T>(name: string, handler: Handler<T>, rethrow: boolean): Handler<T> {
  return async (context) => {
    send({ kind: "begin", name });
    try {
      await handler(context);
    } catch (error) {
      process.stdout.write(`\n${name}: ${inspect(error)}\n`);
      send({ kind: "broken", reason: name });
      if (rethrow) throw error instanceof Error ? error : new Error(`thrown: ${inspect(error)}`);
    } finally {
      send({ kind: "end", name, result: "hook" });
    }
  };
}

function report<T>(real: uvu.Test<T>, name: string): uvu.Test<T> {
  const counted: Counted = { name, tests: 0, only: 0, skipped: 0, hasRun: false };
  suites.push(counted);
  const label = (test: string): string => (name ? `${name}: ${test}` : test);
  const hook = (kind: string, register: (handler: Handler<T>) => void, rethrow: boolean) => (handler: Handler<T>) =>
    register(hookHandler(label(kind), handler, rethrow));
  const add = (title: string, handler: Handler<T>): void => {
    counted.tests++;
    real(title, testHandler(label(title), handler));
  };
  return Object.assign(add, {
    only(title: string, handler: Handler<T>): void {
      counted.only++;
      real.only(title, testHandler(label(title), handler));
    },
    skip(title?: string, handler?: Handler<T>): void {
      counted.skipped++;
      real.skip(title, handler);
    },
    before: Object.assign(hook("before", real.before, true), { each: hook("before each", real.before.each, true) }),
    after: Object.assign(hook("after", real.after, false), { each: hook("after each", real.after.each, false) }),
    run(): void {
      counted.hasRun = true;
      real.run();
    },
  });
}

/** What the file has registered; `idle` names the suites with tests whose `run()` was never called. */
export function registered(): { tests: number; skipped: number; idle: string[] } {
  const sum = (of: (suite: Counted) => number): number => suites.reduce((total, suite) => total + of(suite), 0);
  return {
    tests: sum((suite) => suite.only || suite.tests),
    skipped: sum((suite) => suite.skipped + (suite.only ? suite.tests : 0)),
    idle: suites.filter((suite) => !suite.hasRun && suite.tests + suite.only > 0).map((suite) => suite.name),
  };
}

export function suite<T = uvu.Context>(name = "", state?: T): uvu.Test<T> {
  return report(uvu.suite<T>(name, state), name);
}

export const test: uvu.Test = report(uvu.test, "");
