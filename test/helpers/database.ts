/**
 * A database for one test file, cloned from a migrated template in some 30 ms and dropped by `drop()`.
 * The template belongs to the present contents of sql/: whoever comes first makes it under a lock, templates of
 * other contents are dropped. The server is the one in TEST_DATABASE_URL, which the runner sets.
 */
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { close, connect, type Sql } from "../../src/db/client.ts";
import { migrate } from "../../src/db/migrate.ts";

export interface TestDatabase {
  url: string;
  name: string;
  /** A pool of at most 10 connections. */
  sql: Sql;
  /** Another client of its own, closed by `drop()`. */
  connect(options?: { max?: number; name?: string }): Sql;
  /** Closes every client and drops the database. Safe to call twice. */
  drop(): Promise<void>;
}

/** Invalid catalog name (the template was dropped by somebody with other sql/ files), object in use. */
const TEMPLATE_GONE = ["3D000", "55006"];

function serverUrl(): string {
  const url = process.env.TEST_DATABASE_URL;
  if (!url) throw new Error("TEST_DATABASE_URL is not set: run the tests with `npm test` or test/run.ts");
  return url;
}

function urlOf(database: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${database}`;
  return url.href;
}

function templateName(domain: boolean): string {
  const root = fileURLToPath(new URL("../../sql/", import.meta.url));
  const hash = createHash("sha256");
  const names = readdirSync(root, { recursive: true }).map(String).sort();
  for (const name of names.filter((each) => each.endsWith(".sql"))) {
    hash
      .update(`${name}\0`)
      .update(readFileSync(root + name))
      .update("\0");
  }
  return `tidings_template_${hash.digest("hex").slice(0, 12)}_${domain ? "domain" : "core"}`;
}

async function exists(admin: Sql, name: string): Promise<boolean> {
  return (await admin`select from pg_database where datname = ${name}`).length > 0;
}

async function dropStale(admin: Sql, prefix: string): Promise<void> {
  const stale = await admin<{ datname: string }[]>`
    select datname from pg_database where datname like 'tidings\_template\_%' and not starts_with(datname, ${prefix})`;
  for (const { datname } of stale) await admin`drop database if exists ${admin(datname)} with (force)`;
}

/** Renamed only when it is whole: a run killed half-way leaves no template that looks finished. */
async function makeTemplate(admin: Sql, template: string, domain: boolean): Promise<void> {
  await admin`select pg_advisory_lock(hashtextextended('tidings test template', 0))`;
  try {
    if (await exists(admin, template)) return;
    await dropStale(admin, template.slice(0, template.lastIndexOf("_")));
    const draft = `${template}_draft`;
    await admin`drop database if exists ${admin(draft)} with (force)`;
    await admin`create database ${admin(draft)} template template0`;
    const sql = connect(urlOf(draft), { max: 2, name: "test" });
    try {
      await migrate(sql, { domain });
    } finally {
      await close(sql);
    }
    await admin`alter database ${admin(draft)} rename to ${admin(template)}`;
  } finally {
    await admin`select pg_advisory_unlock(hashtextextended('tidings test template', 0))`;
  }
}

async function create(admin: Sql, name: string, template: string | null, domain: boolean): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      if (template && !(await exists(admin, template))) await makeTemplate(admin, template, domain);
      await admin`create database ${admin(name)} template ${admin(template ?? "template0")}`;
      // as in production: the tests' server has it off, where a commit that publishes takes another way
      await admin`alter database ${admin(name)} set synchronous_commit = on`;
      return;
    } catch (error) {
      if (attempt === 5 || !TEMPLATE_GONE.includes((error as { code?: string }).code ?? "")) throw error;
    }
  }
}

/**
 * Makes a database. `domain`: with the reference domain (default true); `migrate: false`: an empty one.
 * Call it in `test.before`, and `drop()` in `test.after`.
 */
export async function database(options: { domain?: boolean; migrate?: boolean } = {}): Promise<TestDatabase> {
  const domain = options.domain ?? true;
  const name = `tidings_test_${process.pid}_${randomBytes(6).toString("hex")}`;
  const admin = connect(serverUrl(), { max: 1, name: "test" });
  const clients: Sql[] = [];
  try {
    await create(admin, name, options.migrate === false ? null : templateName(domain), domain);
  } finally {
    await close(admin);
  }
  const url = urlOf(name);
  const open: TestDatabase["connect"] = (settings) => {
    const sql = connect(url, { name: "test", ...settings });
    clients.push(sql);
    return sql;
  };
  let dropped: Promise<void> | undefined;
  const drop = async (): Promise<void> => {
    await Promise.all(clients.map((sql) => close(sql, 1)));
    const last = connect(serverUrl(), { max: 1, name: "test" });
    try {
      for (let tries = 1; ; tries++) {
        try {
          await last`drop database if exists ${last(name)} with (force)`;
          return;
        } catch (error) {
          // a WAL sender goes a moment after its client
          if (tries === 100 || (error as { code?: string }).code !== "55006") throw error;
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }
    } finally {
      await close(last);
    }
  };
  return { url, name, sql: open(), connect: open, drop: () => (dropped ??= drop()) };
}
