/**
 * The files of sql/ as the migrator runs them: numbered migrations, then groups of functions and triggers, each with
 * a hash of its text. Line ends do not count, so that a checkout on Windows is no change.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { TidingsError } from "../errors.ts";

export interface SqlFile {
  /** Below sql/, for people: `tidings/migrations/0001_core.sql`. */
  path: string;
  text: string;
}

/** What is run and recorded as one: a single migration, or all functions or triggers of a schema. */
export interface SqlUnit {
  /** The name it is recorded under: `tidings/0001_core`, `app/functions`. */
  name: string;
  schema: "tidings" | "app";
  kind: "migration" | "functions" | "triggers";
  files: SqlFile[];
  sha256: string;
}

const MIGRATION = /^\d{4}_[a-z0-9_]+\.sql$/;

async function readFolder(root: URL, folder: string): Promise<SqlFile[]> {
  let names: string[];
  try {
    names = await readdir(new URL(`${folder}/`, root));
  } catch (cause) {
    if ((cause as { code?: string }).code === "ENOENT") return [];
    throw new TidingsError("configuration", `The SQL files in ${new URL(folder, root)} cannot be read.`, { cause });
  }
  const chosen = names.filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    chosen.map(async (name) => {
      const text = await readFile(new URL(`${folder}/${name}`, root), "utf8");
      return { path: `${folder}/${name}`, text: text.replaceAll("\r\n", "\n") };
    }),
  );
}

function hashOf(parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex");
}

async function migrations(root: URL, schema: SqlUnit["schema"]): Promise<SqlUnit[]> {
  const numbers = new Set<string>();
  return (await readFolder(root, `${schema}/migrations`)).map((file) => {
    const name = file.path.slice(file.path.lastIndexOf("/") + 1);
    const number = name.slice(0, 4);
    if (!MIGRATION.test(name) || numbers.has(number)) {
      const why = numbers.has(number) ? `has the number ${number} a second time` : "is not named 0001_like_this.sql";
      throw new TidingsError("database", `sql/${file.path} ${why}: rename it.`);
    }
    numbers.add(number);
    return {
      name: `${schema}/${name.slice(0, -4)}`,
      schema,
      kind: "migration",
      files: [file],
      sha256: hashOf([file.text]),
    };
  });
}

/** Everything to be run, in order. `root` is the folder sql/. */
export async function readUnits(root: URL, domain: boolean): Promise<SqlUnit[]> {
  const units: SqlUnit[] = [];
  let before = "";
  for (const schema of domain ? (["tidings", "app"] as const) : (["tidings"] as const)) {
    units.push(...(await migrations(root, schema)));
    for (const kind of schema === "app" ? (["functions", "triggers"] as const) : (["functions"] as const)) {
      const files = await readFolder(root, `${schema}/${kind}`);
      // A later group may replace functions of an earlier one: where that ran again, this one must too.
      before = hashOf([before, ...files.flatMap(({ path, text }) => [path, text])]);
      if (files.length > 0) units.push({ name: `${schema}/${kind}`, schema, kind, files, sha256: before });
    }
  }
  if (!units.some(({ kind }) => kind === "migration")) {
    throw new TidingsError(
      "configuration",
      `No migrations in ${root}: the installation is incomplete, install it again.`,
    );
  }
  return units;
}
