/**
 * The schema as the catalogs tell it, against golden.sql.txt: every change of a table, constraint, index, trigger,
 * function or privilege shows in a diff. `GOLDEN=write` writes the file anew. The same on Postgres 14 to 18.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";

const FILE = new URL("golden.sql.txt", import.meta.url);
const test = suite("golden schema");
let db: TestDatabase;
test.before(async () => {
  db = await database();
});
test.after(() => db.drop());

/**
 * Normalised: not-null constraints, which are catalog rows since 18, stand at their columns; bodies are a hash of their
 * text, bound bodies only marked, because servers print them differently; the owner's own privileges are left out.
 */
const QUERY = `
with ours as (
  select oid, nspname from pg_namespace where nspname in ('tidings', 'app')
), lines(line) as (
  select format('table %s.%I%s%s', nspname, relname, case relpersistence when 'u' then ' unlogged' end, ' with ' || array_to_string(reloptions, ', '))
  from pg_class c join ours on ours.oid = relnamespace where relkind in ('r', 'p')
  union all
  select format('column %s.%I.%I %s%s%s%s', nspname, relname, attname, format_type(atttypid, atttypmod), case when attnotnull then ' not null' end,
    case attidentity when 'a' then ' always as identity' when 'd' then ' by default as identity' end, ' default ' || pg_get_expr(adbin, adrelid))
  from pg_attribute a join pg_class c on c.oid = attrelid join ours on ours.oid = relnamespace
  left join pg_attrdef d on adrelid = attrelid and adnum = attnum
  where relkind in ('r', 'p', 'v') and attnum > 0 and not attisdropped
  union all
  select format('view %s.%I %s', nspname, relname, md5(regexp_replace(pg_get_viewdef(c.oid), '\\w+\\.|\\s+', '', 'g')))
  from pg_class c join ours on ours.oid = relnamespace where relkind = 'v'
  union all
  select format('constraint %s.%I %I %s', nspname, coalesce(relname, typname), conname, pg_get_constraintdef(k.oid))
  from pg_constraint k join ours on ours.oid = connamespace left join pg_class c on c.oid = conrelid left join pg_type t on t.oid = contypid
  where contype in ('p', 'u', 'f', 'c', 'x')
  union all
  select format('domain %s.%I %s', nspname, typname, format_type(typbasetype, typtypmod)) from pg_type join ours on ours.oid = typnamespace where typtype = 'd'
  union all
  select format('index %s', indexdef) from pg_indexes where schemaname in ('tidings', 'app')
  union all
  select format('trigger %s%s', pg_get_triggerdef(t.oid), case tgenabled when 'O' then '' else ' enabled ' || tgenabled::text end)
  from pg_trigger t join pg_class c on c.oid = tgrelid join ours on ours.oid = relnamespace where not tgisinternal
  union all
  select format('function %s.%I(%s) %s %s %s%s%s%s%s', nspname, proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), lanname,
    case provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end, case when proisstrict then ' strict' end,
    case when prosecdef then ' definer' end, ' set ' || array_to_string(proconfig, ', '),
    case when prosqlbody is null then ' ' || md5(regexp_replace(prosrc, '\\s+', ' ', 'g')) else ' bound' end)
  from pg_proc p join ours on ours.oid = pronamespace join pg_language l on l.oid = prolang
  union all
  select format('granted %s on function %s.%I(%s) to %s', privilege_type, nspname, proname, pg_get_function_identity_arguments(p.oid),
    case grantee when 0 then 'public' else 'another role' end)
  from pg_proc p join ours on ours.oid = pronamespace, aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee <> proowner
  union all
  select format('granted %s on %s.%I to %s', privilege_type, nspname, relname, case grantee when 0 then 'public' else 'another role' end)
  from pg_class c join ours on ours.oid = relnamespace, aclexplode(relacl) where grantee <> relowner
)
select line from lines order by line collate "C"`;

test("the schema is the one in golden.sql.txt", async () => {
  const rows = await db.sql.unsafe<{ line: string }[]>(QUERY);
  const text = `${rows.map(({ line }) => line).join("\n")}\n`;
  if (process.env.GOLDEN === "write") writeFileSync(FILE, text);
  const golden = readFileSync(FILE, "utf8");
  const [is, was] = [text, golden].map((each) => new Set(each.trimEnd().split("\n")));
  const diff = [
    ...[...was!].filter((line) => !is!.has(line)).map((line) => `- ${line}`),
    ...[...is!].filter((line) => !was!.has(line)).map((line) => `+ ${line}`),
  ];
  assert.equal(diff, [], "the schema changed; where that is meant, write the file anew with GOLDEN=write");
});

test.run();
