/** `tidings email`: what the e-mail worker has to do, gave up on, or cannot tell the fate of. */
import process from "node:process";
import { type Command, type ExitCode, type Input, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

const STATES: readonly string[] = ["pending", "sending", "sent", "cancelled", "unknown", "dead"];

export const command: Command = {
  usage: "list [--state STATE] | retry USER ID | retry --state dead|unknown",
  about:
    "Lists e-mails, newest first, or tries one again that is dead, or whose fate is unknown: that one may then arrive twice.\n" +
    "A worker finds what is to be tried within half a minute.",
  options: {
    state: { value: "STATE", help: `${STATES.join(", ")}; list: any` },
    limit: { value: "N", help: "list: at most so many; 100" },
    json: { help: "list: one JSON object a line" },
  },
  run(input) {
    const [verb, ...words] = input.words;
    const state = input.text("state");
    if (state !== undefined && !STATES.includes(state)) throw new UsageError(`--state is one of ${STATES.join(", ")}.`);
    if (verb === "list" && words.length === 0) return list(input, state);
    if (verb === "retry") return retry(words, state);
    throw new UsageError("say list, or retry with a user id and an id, or with --state.");
  },
};

interface Mail {
  user_id: string;
  id: number;
  type: string;
  state: string;
  attempts: number;
  created_at: Date;
  last_error: string | null;
}

async function list(input: Input, state: string | undefined): Promise<ExitCode> {
  const limit = input.whole("limit", 1, 100_000) ?? 100;
  const rows = await withDatabase(
    (sql) => sql<Mail[]>`select * from tidings.emails(${state ?? null}::text, ${limit}::int)`,
  );
  for (const mail of rows) {
    const { user_id, id, type, attempts, created_at, last_error } = mail;
    const plain = `${created_at.toISOString()}  user ${user_id} #${id}  ${type}  ${mail.state} after ${attempts} attempts`;
    process.stdout.write(
      `${input.is("json") ? JSON.stringify(mail) : last_error ? `${plain}: ${last_error}` : plain}\n`,
    );
  }
  if (rows.length === 0) process.stderr.write(`There are no e-mails${state ? ` that are ${state}` : ""}.\n`);
  return 0;
}

async function retry([user, id, ...more]: readonly string[], state: string | undefined): Promise<ExitCode> {
  if (state !== undefined && user === undefined) {
    if (state !== "dead" && state !== "unknown") throw new UsageError("retry takes --state dead or unknown.");
    const [row] = await withDatabase(
      (sql) => sql<{ many: number }[]>`select tidings.retry_email(${state}::text) as many`,
    );
    process.stdout.write(`${row!.many} to be tried again.\n`);
    return 0;
  }
  if (!user || !/^\d{1,15}$/.test(id ?? "") || more.length > 0 || state !== undefined) {
    throw new UsageError("retry takes a user id and an id, or --state alone.");
  }
  const [row] = await withDatabase(
    (sql) => sql<{ found: boolean }[]>`select tidings.retry_email(${user}::text, ${Number(id)}::bigint) as found`,
  );
  if (row!.found) process.stdout.write(`User ${user} #${id} is to be tried again.\n`);
  else
    process.stderr.write(
      `tidings: user ${user} #${id} has no e-mail that is dead or unknown; see tidings email list.\n`,
    );
  return row!.found ? 0 : 1;
}
