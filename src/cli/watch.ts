/** `tidings watch`: the watches of tables, as tidings.watch and its view have them. */
import process from "node:process";
import type { Sql } from "../db/client.ts";
import { type Command, type ExitCode, type Input, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

/** The parameters of tidings.watch, in its order. */
const TEXTS = ["recipients", "type", "title", "message", "condition", "actor", "data", "event", "key"] as const;

export const command: Command = {
  usage: "list | add NAME TABLE --recipients SQL --type TYPE [options] | drop NAME",
  about:
    "Lists watches, declares one (or replaces the one of this name), or drops one. The texts are SQL over new and old, as in\n" +
    "tidings.watch: --recipients new.customer_id --message \"'Order ' || new.id || ' is on its way'\"",
  options: {
    recipients: { value: "SQL", help: "a user id, an array of them, or a query giving rows" },
    type: { value: "TYPE", help: "the notification's type: a plain word, or SQL" },
    title: { value: "SQL", help: "the title" },
    message: { value: "SQL", help: "the text" },
    operations: { value: "LIST", help: "insert, update, delete; insert" },
    condition: { value: "SQL", help: "only rows for which it is true" },
    actor: { value: "SQL", help: "who acts and is left out; the setting tidings.actor" },
    data: { value: "SQL", help: "extra fields, a jsonb object" },
    event: { value: "SQL", help: "an event for reducers, a jsonb object with a type" },
    key: { value: "SQL", help: "the same key for the same user is stored once" },
    json: { help: "list: one JSON object a line" },
  },
  run(input) {
    const [verb, ...words] = input.words;
    const run = { list, add, drop }[verb as "list"];
    if (!run) throw new UsageError("say list, add or drop.");
    return run(input, words);
  },
};

async function list(input: Input, words: readonly string[]): Promise<ExitCode> {
  if (words.length > 0) throw new UsageError("list takes no arguments.");
  const rows = await withDatabase((sql) => sql<Record<string, unknown>[]>`select * from tidings.watches order by name`);
  for (const row of rows) {
    const { name, source, operations, recipients, type, state } = row;
    const plain = `${name}  on ${(operations as string[]).join(", ")} of ${source}: ${type} to ${recipients}`;
    process.stdout.write(
      `${input.is("json") ? JSON.stringify(row) : state === "active" ? plain : `${plain}  (${state})`}\n`,
    );
  }
  if (rows.length === 0)
    process.stderr.write("There are no watches; `tidings watch add --help` tells how to make one.\n");
  return 0;
}

async function add(input: Input, [name, table, ...more]: readonly string[]): Promise<ExitCode> {
  if (!name || !table || more.length > 0) throw new UsageError("add takes a name and a table.");
  const texts = Object.fromEntries(TEXTS.map((option) => [option, input.text(option) ?? null]));
  if (texts.recipients === null || texts.type === null) throw new UsageError("add takes --recipients and --type.");
  const operations = (input.text("operations") ?? "insert").split(",").flatMap((each) => each.trim() || []);
  await withDatabase((sql) => declare(sql, name, table, operations, texts));
  process.stdout.write(`Watching ${table} as ${name}.\n`);
  return 0;
}

function declare(
  sql: Sql,
  name: string,
  table: string,
  operations: string[],
  texts: Record<string, string | null>,
): Promise<unknown> {
  const { recipients, type, title, message, condition, actor, data, event, key } = texts as Record<string, string>;
  return sql`select tidings.watch(${name}::text, ${table}::text::regclass, recipients => ${recipients!}::text, type => ${type!}::text,
    title => ${title!}::text, message => ${message!}::text, operations => ${operations}::text[], condition => ${condition!}::text,
    actor => ${actor!}::text, data => ${data!}::text, event => ${event!}::text, key => ${key!}::text)`;
}

async function drop(_input: Input, [name, ...more]: readonly string[]): Promise<ExitCode> {
  if (!name || more.length > 0) throw new UsageError("drop takes a name.");
  await withDatabase((sql) => sql`select tidings.unwatch(${name}::text)`);
  process.stdout.write(`Dropped ${name}.\n`);
  return 0;
}
