/**
 * What a database needs, found out by reading alone: the units that are not recorded as they are now. Refuses, each
 * time with what to do next: a server that is too old, an `app` schema that is not ours, a role without the privilege,
 * a migration changed after the fact, and a database that a newer version has migrated.
 */
import { describe, TidingsError } from "../errors.ts";
import type { Sql, Tx } from "./client.ts";
import type { SqlUnit } from "./sql_files.ts";

/** The comment that tells our `app` schema from anybody else's. */
export const DOMAIN_COMMENT = "tidings reference domain";

interface Schema {
  name: string;
  comment: string | null;
  may_create: boolean;
}

interface Facts {
  version: number;
  version_text: string;
  role: string;
  database: string;
  may_create_schemas: boolean;
  recorded: boolean;
  schemas: Schema[];
}

interface Recorded {
  name: string;
  sha256: string;
}

function refuse(text: string, cause?: unknown): never {
  throw new TidingsError("configuration", text, { cause });
}

/** Asks the catalogs only, which every role may read. */
async function readFacts(sql: Sql | Tx): Promise<Facts> {
  const [facts] = await sql<Facts[]>`
    select current_setting('server_version_num')::int as version, current_setting('server_version') as version_text,
      current_user::text as role, current_database()::text as database,
      has_database_privilege(current_database(), 'create') as may_create_schemas,
      exists (select from pg_class c where c.relname = 'migration' and c.relnamespace = to_regnamespace('tidings'))
        as recorded,
      coalesce((select jsonb_agg(jsonb_build_object('name', n.nspname, 'comment', obj_description(n.oid, 'pg_namespace'),
          'may_create', has_schema_privilege(n.oid, 'create')))
        from pg_namespace n where n.nspname in ('tidings', 'app')), '[]') as schemas`;
  return facts!;
}

async function readRecorded(sql: Sql | Tx, facts: Facts): Promise<Map<string, string>> {
  if (!facts.recorded) return new Map();
  try {
    const rows = await sql<Recorded[]>`select name, sha256 from tidings.migration`;
    return new Map(rows.map(({ name, sha256 }) => [name, sha256]));
  } catch (cause) {
    const { code } = cause as { code?: string };
    if (code === "42501") {
      const grants = `grant usage on schema tidings to "${facts.role}"; grant select on tidings.migration to "${facts.role}"`;
      refuse(
        `The role "${facts.role}" may not read tidings.migration: connect as the role that migrated, or ${grants}.`,
        cause,
      );
    }
    if (code === "42703")
      refuse(`The schema "tidings" in "${facts.database}" is not this program's: use another database.`);
    throw new TidingsError("database", `tidings.migration could not be read: ${describe(cause)}`, { cause });
  }
}

function checkServer(facts: Facts, domain: boolean): void {
  if (facts.version < 140_000) {
    refuse(`Postgres ${facts.version_text} is too old: version 14 or newer is needed, upgrade the server.`);
  }
  const app = facts.schemas.find(({ name }) => name === "app");
  if (domain && app && app.comment !== DOMAIN_COMMENT) {
    refuse(
      `The database "${facts.database}" has a schema "app" that is not the reference domain: set DOMAIN=off to leave the ` +
        `reference domain out, or use another database. (Ours carries the comment '${DOMAIN_COMMENT}'.)`,
    );
  }
}

function checkHistory(units: readonly SqlUnit[], recorded: ReadonlyMap<string, string>, domain: boolean): void {
  const known = new Set(units.map(({ name }) => name));
  for (const name of recorded.keys()) {
    const migration = /^(tidings|app)\/\d{4}_/.exec(name);
    if (!migration || known.has(name) || (migration[1] === "app" && !domain)) continue;
    refuse(
      `The database was migrated by a newer version (it has ${name}): upgrade this installation, or use its database.`,
    );
  }
  const applied = new Map<string, string>();
  for (const { kind, name, schema, files, sha256 } of units) {
    if (kind !== "migration" || !recorded.has(name)) continue;
    applied.set(schema, name);
    if (recorded.get(name) === sha256) continue;
    const advice = "restore the file, and put the change into a new migration";
    throw new TidingsError("database", `sql/${files[0]!.path} was changed after it had been applied: ${advice}.`);
  }
  for (const { kind, name, schema } of units) {
    const last = applied.get(schema);
    if (kind !== "migration" || recorded.has(name) || !last || name > last) continue;
    throw new TidingsError(
      "database",
      `The migration ${name} is new but comes before ${last}, which is applied: renumber it.`,
    );
  }
}

function checkPrivileges(pending: readonly SqlUnit[], facts: Facts): void {
  for (const name of new Set(pending.map(({ schema }) => schema))) {
    const schema = facts.schemas.find((each) => each.name === name);
    if (!schema && !facts.may_create_schemas) {
      refuse(
        `The role "${facts.role}" may not create the schema "${name}": as the owner of the database run ` +
          `grant create on database "${facts.database}" to "${facts.role}", or migrate with a role that may.`,
      );
    }
    if (schema && !schema.may_create) {
      refuse(
        `The role "${facts.role}" may not create in the schema "${name}": migrate with the role that owns it, or ` +
          `grant create on schema "${name}" to "${facts.role}".`,
      );
    }
  }
}

export interface Plan {
  pending: SqlUnit[];
  /** The recorded hash of every unit, by name. */
  recorded: ReadonlyMap<string, string>;
}

/** Reads what is recorded and returns what is missing. Writes nothing and takes no lock. */
export async function plan(sql: Sql | Tx, units: readonly SqlUnit[], domain: boolean): Promise<Plan> {
  const facts = await readFacts(sql);
  checkServer(facts, domain);
  const recorded = await readRecorded(sql, facts);
  checkHistory(units, recorded, domain);
  const pending = units.filter(({ name, sha256 }) => recorded.get(name) !== sha256);
  checkPrivileges(pending, facts);
  return { pending, recorded };
}
