/** Checks of the server and of what was migrated to it: version, rights, clock, indexes, triggers. */
import { migrationStatus } from "../db/migrate.ts";
import { readUnits } from "../db/sql_files.ts";
import type { Check, Finding } from "./doctor.ts";

const ok = (text: string): Finding => ({ state: "ok", text });
const SQL_ROOT = new URL("../../sql/", import.meta.url);
/** Seconds: what tokens are forgiven (auth/token.ts), and what makes times of entries look odd. */
const [SKEW_FAIL, SKEW_WARN] = [30, 2];

export const server: Check = async ({ sql }) => {
  const [row] = await sql<{ number: number; version: string; standby: boolean; wal: string }[]>`
    select current_setting('server_version_num')::int as number, current_setting('server_version') as version,
      pg_is_in_recovery() as standby, current_setting('wal_level') as wal`;
  const { number, version, standby, wal } = row!;
  const text = `Postgres ${version}, wal_level ${wal}`;
  if (number < 140_000) return { state: "fail", text, mend: "upgrade the server: 14 or newer is needed" };
  if (standby) return { state: "fail", text: `${text}, a standby`, mend: "point DATABASE_URL at the primary" };
  return ok(text);
};

export const migrations: Check = async ({ sql, database }) => {
  const steps = await migrationStatus(sql, { domain: database.config.domain });
  const missing = steps.filter(({ state }) => state !== "applied").map(({ name }) => name);
  if (missing.length === 0) return ok(`${steps.length} of ${steps.length} applied`);
  const fatal = missing.includes("tidings/0001_core");
  const text = fatal ? "this database was never migrated" : `missing: ${missing.join(", ")}`;
  return { state: "fail", text, mend: "tidings migrate", fatal };
};

/** Those of the grants of tidings.grant_server that the present role lacks; an owner lacks none. */
export const rights: Check = async ({ sql }) => {
  const rows = await sql<{ role: string; object: string; privilege: string }[]>`
    select current_user::text as role, r.object, p.privilege
    from tidings.server_rights() r cross join lateral regexp_split_to_table(r.rights, ', ') p(privilege)
    cross join lateral (select split_part(r.object, ' ', 1) as kind, substr(r.object, position(' ' in r.object) + 1) as name) o
    where not case o.kind when 'schema' then has_schema_privilege(o.name, p.privilege)
      when 'table' then has_table_privilege(o.name, p.privilege) else has_function_privilege(o.name, p.privilege) end`;
  if (rows.length === 0) return ok("the role has all that a server needs");
  const { role, object, privilege } = rows[0]!;
  const more = rows.length > 1 ? ` and ${rows.length - 1} more` : "";
  const mend = `as the role that migrated: select tidings.grant_server('"${role}"')`;
  return { state: "fail", text: `the role ${role} lacks ${privilege} on ${object}${more}`, mend };
};

export const clock: Check = async ({ sql }) => {
  const before = Date.now();
  const [row] = await sql<{ ms: number }[]>`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`;
  const after = Date.now();
  const skew = (row!.ms - (before + after) / 2) / 1_000;
  const text = `${Math.abs(skew).toFixed(2)} s ${skew < 0 ? "behind" : "ahead of"} this machine`;
  const mend = "synchronise both clocks (NTP)";
  if (Math.abs(skew) > SKEW_FAIL) return { state: "fail", text, mend };
  return Math.abs(skew) > SKEW_WARN ? { state: "warn", text, mend } : ok(text);
};

/** The indexes that the migrations leave behind: created, and not dropped again. */
async function expectedIndexes(domain: boolean): Promise<Map<string, string>> {
  const expected = new Map<string, string>();
  for (const { kind, schema, files } of await readUnits(SQL_ROOT, domain)) {
    if (kind !== "migration") continue;
    const statement =
      /create (?:unique )?index (\w+)[^;]*|drop index (?:\w+\.)?(\w+)|constraint (\w+) (?:primary key|unique)[^,\n]*/g;
    for (const [text, created, dropped, constraint] of files[0]!.text.matchAll(statement)) {
      if (dropped) expected.delete(`${schema}.${dropped}`);
      else expected.set(`${schema}.${created ?? constraint}`, created ? text : `alter table … add ${text}`);
    }
  }
  return expected;
}

export const indexes: Check = async ({ sql, database }) => {
  const expected = await expectedIndexes(database.config.domain);
  const rows = await sql<{ name: string; valid: boolean }[]>`
    select n.nspname || '.' || c.relname as name, i.indisvalid as valid
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('tidings', 'app')`;
  const valid = new Set(rows.flatMap(({ name, valid }) => (valid ? name : [])));
  const missing = [...expected.keys()].filter((name) => !valid.has(name));
  if (missing.length === 0) return ok(`${expected.size} of ${expected.size} present and valid`);
  const broken = missing.filter((name) => rows.some((row) => row.name === name));
  const mend = broken[0] ? `reindex index ${broken[0]}` : expected.get(missing[0]!)!.replace(/\s+/g, " ");
  return { state: "fail", text: `missing or invalid: ${missing.join(", ")}`, mend };
};

export const triggers: Check = async ({ sql }) => {
  const rows = await sql<{ name: string; relation: string; mend: string }[]>`
    select t.tgname::text as name, t.tgrelid::regclass::text as relation,
      format('alter table %s enable %strigger %I', t.tgrelid::regclass, case when t.tgname in ('number', 'defer_numbering') then 'always ' else '' end, t.tgname) as mend
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    where not t.tgisinternal and (n.nspname in ('tidings', 'app') and t.tgenabled in ('D', 'R')
      or n.nspname = 'tidings' and t.tgname in ('number', 'defer_numbering') and t.tgenabled <> 'A')
    order by 2, 1`;
  if (rows.length === 0) return ok("all are enabled");
  const text = `switched off: ${rows.map(({ name, relation }) => `${name} on ${relation}`).join(", ")}`;
  return { state: "fail", text, mend: rows.map(({ mend }) => mend).join("; ") };
};
