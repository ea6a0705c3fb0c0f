/**
 * The publication that the WAL is read by. While it is read writers do not NOTIFY: one that leaves out entries would
 * silence everybody without an error, so it is looked at before each reading and all through it.
 */
import { sleep } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import type { Sql } from "./client.ts";

export const PUBLICATION = "tidings";
const TABLE = "tidings.notification";
const ALTER = `alter publication ${PUBLICATION}`;
const VIA_ROOT = "publish_via_partition_root = true";
const SETTINGS = `publish = 'insert', ${VIA_ROOT}`;
const CREATE = `create publication ${PUBLICATION} for table ${TABLE} with (${SETTINGS})`;
/** The rest of the publication may be of use to somebody, so `set table` is not said. */
const ANEW = `${ALTER} drop table ${TABLE}; ${ALTER} add table ${TABLE}`;

/** What is missing, and the statements or the words that mend it. */
export interface Need {
  readonly text: string;
  readonly mend: string;
}

interface Seen {
  readonly there: boolean;
  /** Another one as soon as the publication is altered. */
  readonly mark: string;
  readonly owner: string;
  readonly yours: boolean;
  readonly mayCreate: boolean | null;
  readonly inserts: boolean;
  readonly viaRoot: boolean;
  readonly holdsTable: boolean;
  readonly filtersRows: boolean;
  readonly lacksColumns: boolean;
}

/** Without parameters, which a connection for the WAL does not take. Columns that Postgres 14 does not have, through JSON. */
const LOOK = `
  select p.oid is not null as there, concat_ws(' ', p.oid, p.xmin, r.oid, r.xmin) as mark,
    pg_get_userbyid(p.pubowner)::text as owner, pg_has_role(p.pubowner, 'usage') as yours,
    pg_has_role(c.relowner, 'usage') and has_database_privilege(current_database(), 'create') as "mayCreate",
    p.pubinsert as inserts, p.pubviaroot as "viaRoot", t.tablename is not null as "holdsTable",
    to_jsonb(t) ->> 'rowfilter' is not null as "filtersRows",
    exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and a.attgenerated = '' and not to_jsonb(t) -> 'attnames' ? a.attname::text) as "lacksColumns"
  from (select to_regclass('${TABLE}') as oid) n left join pg_class c using (oid)
  left join pg_publication p on p.pubname = '${PUBLICATION}'
  left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
  left join pg_publication_tables t on t.pubname = p.pubname and format('%I.%I', t.schemaname, t.tablename) = '${TABLE}'`;

async function look(sql: Sql): Promise<Seen> {
  const [seen] = await sql.unsafe<Seen[]>(LOOK);
  return seen!;
}

function needOf(seen: Seen): Need | undefined {
  if (!seen.there) {
    return { text: `the publication ${PUBLICATION} is missing`, mend: `as the role that migrates: ${CREATE}` };
  }
  const fault = faultOf(seen);
  if (!fault) return undefined;
  const [text, mend] = fault;
  return {
    text: `the publication ${PUBLICATION} ${text}`,
    mend: seen.yours ? mend : `as the role "${seen.owner}": ${mend}`,
  };
}

function faultOf(seen: Seen): [text: string, mend: string] | undefined {
  if (!seen.inserts) return ["publishes no inserts", `${ALTER} set (${SETTINGS})`];
  // of a plain table too: it makes no difference there, and it may be partitioned while it is read
  if (!seen.viaRoot) return ["publishes partitions under their own names", `${ALTER} set (${VIA_ROOT})`];
  if (!seen.holdsTable) return [`does not publish ${TABLE}`, `${ALTER} add table ${TABLE}`];
  if (seen.filtersRows) return [`leaves out rows of ${TABLE}`, ANEW];
  if (seen.lacksColumns) return [`leaves out columns of ${TABLE}`, ANEW];
  return undefined;
}

export const refusal = ({ text, mend }: Need): TidingsError =>
  new TidingsError("configuration", `The WAL cannot be read: ${text}. What mends it: ${mend}.`);

/** What is wrong with it. Not that it is missing, where this role makes it as soon as it is needed. */
export async function publicationNeed(sql: Sql): Promise<Need | undefined> {
  const seen = await look(sql);
  return !seen.there && seen.mayCreate ? undefined : needOf(seen);
}

/**
 * Makes sure that it is there, and that it publishes what is needed. Only the table's owner may make it.
 * @returns its mark, for `untilAltered`
 * @throws TidingsError "configuration", with what mends it
 */
export async function publish(sql: Sql): Promise<string> {
  let seen = await look(sql);
  if (!seen.there && seen.mayCreate) {
    await sql.unsafe(CREATE).catch((error: { code?: string }) => {
      if (error.code !== "42710") throw error; // another instance was faster
    });
    seen = await look(sql);
  }
  const need = needOf(seen);
  if (need) throw refusal(need);
  return seen.mark;
}

/**
 * Looks every `ms` whether it is still the one that has this mark. Resolves with what happened to it; with nothing when
 * the signal is aborted.
 * @param connection null: not to be asked just now
 */
export async function untilAltered(
  mark: string,
  {
    connection,
    ms,
    signal,
    onError,
  }: {
    connection(): Sql | null;
    ms: number;
    signal: AbortSignal;
    onError(error: unknown): void;
  },
): Promise<TidingsError | undefined> {
  for (;;) {
    await sleep(ms, signal);
    if (signal.aborted) return undefined;
    try {
      const sql = connection();
      const seen = sql && (await look(sql));
      if (!seen) continue;
      const need = needOf(seen);
      // the mark does not tell of everything, such as the tables of a schema
      if (!need && seen.mark === mark) continue;
      return need ? refusal(need) : new TidingsError("unavailable", `The publication ${PUBLICATION} was altered.`);
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
  }
}
