/** `tidings doctor`: looks at server, rights, LISTEN, indexes, counters and leftovers, and says how to mend what is wrong. */
import process from "node:process";
import type { Sql } from "../db/client.ts";
import { describe } from "../errors.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { type Database, withDatabase } from "./database.ts";
import { counters, emails, leftovers, watches } from "./doctor_data.ts";
import { feed } from "./doctor_feed.ts";
import { listening, queue } from "./doctor_listen.ts";
import { clock, indexes, migrations, rights, server, triggers } from "./doctor_server.ts";

/** What a check found. `warn` is worth knowing and no failure. */
export interface Finding {
  readonly state: "ok" | "fixed" | "warn" | "fail";
  readonly text: string;
  /** What to do about it. */
  readonly mend?: string | undefined;
  /** Without it nothing else can be checked. */
  readonly fatal?: boolean;
}

/** What checks work with. */
export interface Patient {
  readonly sql: Sql;
  readonly database: Database;
  /** Mend what can be mended here. */
  readonly fix: boolean;
  /** Shows how far a long check is; forgotten when it ends. */
  progress(text: string): void;
}

export type Check = (patient: Patient) => Promise<Finding>;

const CHECKS: Readonly<Record<string, Check>> = {
  server,
  migrations,
  rights,
  clock,
  listen: listening,
  queue,
  feed,
  indexes,
  triggers,
  counters,
  outbox: leftovers,
  watches,
  "e-mail": emails,
};

const MARK: Readonly<Record<Finding["state"], string>> = { ok: "ok   ", fixed: "FIXED", warn: "warn ", fail: "FAIL " };

export const command: Command = {
  usage: "[--fix] [--json]",
  about:
    "Checks the installation and says how to mend what is wrong: server, migrations, rights, clocks, LISTEN (through a pooler\n" +
    "too), NOTIFY queue, feed, indexes, triggers, counters, leftovers, watches, e-mail. Exit code 1 where a check fails.",
  options: {
    fix: { help: "recount wrong counters, under their lock, and number what was left behind" },
    json: { help: "one JSON object a line" },
  },
  run(input) {
    if (input.words.length > 0) throw new UsageError("it takes no arguments.");
    return withDatabase((sql, database) =>
      examine({ sql, database, fix: input.is("fix"), progress }, input.is("json")),
    );
  },
};

async function examine(patient: Patient, json: boolean): Promise<ExitCode> {
  let failed = 0;
  // not being able to ask is an error of its own, and not one per check
  await patient.sql`select 1`;
  for (const [name, check] of Object.entries(CHECKS)) {
    const finding = await check(patient).catch(
      (error: unknown): Finding => ({ state: "fail", text: `could not be checked: ${describe(error)}` }),
    );
    progress("");
    if (finding.state === "fail") failed++;
    process.stdout.write(`${json ? JSON.stringify({ check: name, ...finding }) : lines(name, finding)}\n`);
    if (finding.fatal) break;
  }
  if (!json) process.stdout.write(failed === 0 ? "All is well.\n" : `${failed} checks failed.\n`);
  return failed === 0 ? 0 : 1;
}

function lines(name: string, { state, text, mend }: Finding): string {
  const first = `${MARK[state]} ${name.padEnd(10)} ${text}`;
  return mend === undefined ? first : `${first}\n${" ".repeat(17)}-> ${mend}`;
}

/** On a terminal alone: what is piped to a file should hold findings and nothing else. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
