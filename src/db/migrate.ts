/**
 * Brings a database to what sql/ says: numbered migrations once, functions and triggers again whenever their text has
 * changed. One transaction under one advisory lock: an upgrade is there as a whole or not at all, and any number of
 * instances may start at once. Where nothing is missing, nothing is written and no lock is taken. Touches the schemas
 * `tidings` and `app` only; `app` only with the reference domain.
 */
import { describe, TidingsError } from "../errors.ts";
import type { Sql, Tx } from "./client.ts";
import { DOMAIN_COMMENT, plan } from "./migrate_plan.ts";
import { readUnits, type SqlFile, type SqlUnit } from "./sql_files.ts";

export interface MigrateOptions {
  /** With the reference domain (schema `app`). */
  domain: boolean;
  /** Only tell what would be done. Default false. */
  dryRun?: boolean;
  /** Called with one line per step that is done. */
  log?: (text: string) => void;
  /** The folder of the SQL files. Default: the one that came with this program. */
  root?: URL;
}

export interface MigrationStep {
  /** `tidings/0001_core`, or `tidings/functions` for all functions of a schema. */
  name: string;
  kind: "migration" | "functions" | "triggers";
  /** `changed`: functions or triggers that are recorded with another text, and are run again. */
  state: "applied" | "pending" | "changed";
}

const SQL_ROOT = new URL("../../sql/", import.meta.url);

function fileError(file: SqlFile, cause: unknown): TidingsError {
  const { code, position, hint, detail, where } = cause as Record<string, string | undefined>;
  // Positions count characters, and JavaScript's strings count UTF-16 units.
  const before = position ? [...file.text].slice(0, Number(position) - 1).join("") : "";
  const line = position ? `, line ${before.split("\n").length}` : "";
  const more = [detail, hint && `Hint: ${hint}`, where && `In: ${where.split("\n")[0]}`].filter(Boolean);
  const text = `sql/${file.path}${line}: ${describe(cause)}${code ? ` (${code})` : ""}`;
  return new TidingsError("database", [text, ...more].join("\n"), { cause });
}

async function prepareSchema(tx: Tx, schema: SqlUnit["schema"]): Promise<void> {
  // `if not exists` would ask for the privilege to create schemas even where an administrator has made it for us.
  const [found] = await tx`select from pg_namespace where nspname = ${schema}`;
  if (!found) await tx`create schema ${tx(schema)}`;
  if (!found && schema === "app") await tx.unsafe(`comment on schema app is '${DOMAIN_COMMENT}'`);
  if (schema === "tidings") {
    await tx`
      create table if not exists tidings.migration (
        name text not null,
        sha256 text not null,
        applied_at timestamptz not null default now(),
        constraint migration_pkey primary key (name)
      )`;
  }
}

async function apply(tx: Tx, unit: SqlUnit): Promise<void> {
  // Functions may refer to each other in any order, so their bodies are not looked into until all are there.
  await tx.unsafe(`set local check_function_bodies = ${unit.kind === "migration" ? "on" : "off"}`);
  for (const file of unit.files) {
    try {
      await tx.unsafe(file.text);
    } catch (cause) {
      throw fileError(file, cause);
    }
  }
  await tx`
    insert into tidings.migration (name, sha256) values (${unit.name}, ${unit.sha256})
    on conflict (name) do update set sha256 = excluded.sha256, applied_at = excluded.applied_at`;
}

/** Waits for the lock, looks again at what is left to do by then, and does it. */
async function run(tx: Tx, units: readonly SqlUnit[], options: MigrateOptions): Promise<MigrationStep[]> {
  // The role's own limits are for queries. Waiting for another instance to migrate is not a fault of this one.
  await tx.unsafe(
    "set local statement_timeout = 0; set local lock_timeout = 0; set local idle_in_transaction_session_timeout = 0;" +
      "set local client_min_messages = warning; set local search_path = pg_catalog, pg_temp",
  );
  await tx`select pg_advisory_xact_lock(hashtextextended('tidings migrate', 0))`;
  const { pending, recorded } = await plan(tx, units, options.domain);
  const steps: MigrationStep[] = [];
  for (const schema of new Set(pending.map((unit) => unit.schema))) await prepareSchema(tx, schema);
  for (const unit of pending) {
    await apply(tx, unit);
    options.log?.(`${unit.name} ${unit.kind === "migration" || !recorded.has(unit.name) ? "applied" : "run again"}`);
    steps.push({ name: unit.name, kind: unit.kind, state: "applied" });
  }
  return steps;
}

/** What the connection itself threw, as an error of ours. */
function told<T>(work: Promise<T>): Promise<T> {
  return work.catch((cause: unknown) => {
    if (cause instanceof TidingsError) throw cause;
    throw new TidingsError("database", `The database could not be migrated: ${describe(cause)}`, { cause });
  });
}

/**
 * Every unit with its state, without writing anything.
 * @throws TidingsError "configuration" or "database", as `migrate` does.
 */
export async function migrationStatus(sql: Sql, options: MigrateOptions): Promise<MigrationStep[]> {
  const units = await readUnits(options.root ?? SQL_ROOT, options.domain);
  const { recorded } = await told(plan(sql, units, options.domain));
  return units.map(({ name, kind, sha256 }) => {
    const found = recorded.get(name);
    return { name, kind, state: found === undefined ? "pending" : found === sha256 ? "applied" : "changed" };
  });
}

/**
 * Applies what is missing and returns what it did (with `dryRun`: what it would do), an empty list where there is
 * nothing to do.
 * @throws TidingsError "configuration" where the database is not one to migrate (too old, another's schema `app`, a
 * missing privilege, migrated by a newer version), "database" where a file fails or was changed after the fact.
 */
export async function migrate(sql: Sql, options: MigrateOptions): Promise<MigrationStep[]> {
  const steps = await migrationStatus(sql, options);
  const missing = steps.filter(({ state }) => state !== "applied");
  if (options.dryRun || missing.length === 0) return missing;
  const units = await readUnits(options.root ?? SQL_ROOT, options.domain);
  return told(sql.begin("isolation level read committed read write", (tx) => run(tx, units, options)));
}
