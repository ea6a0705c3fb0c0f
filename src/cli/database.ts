/** The database a command works on: DATABASE_URL, or the embedded one, started where it is not running. */
import process from "node:process";
import { type Config, readConfig } from "../config.ts";
import { close, connect, type Sql } from "../db/client.ts";
import { describe, TidingsError } from "../errors.ts";

export interface Database {
  readonly config: Config;
  readonly url: string;
  readonly listenUrl: string;
  readonly embedded: boolean;
  stop(): Promise<void>;
}

/** Stands in where a command works on the database alone; nothing is signed or checked with it. */
const NO_TOKENS = "no tokens are checked by this command";

/**
 * @param log told what is unusual about the embedded database
 * @param tokens false: the settings of tokens may be missing
 */
export async function openDatabase(log: (text: string) => void, tokens = true): Promise<Database> {
  const config = readConfig(tokens ? process.env : { ...process.env, JWT_SECRET: process.env.JWT_SECRET || NO_TOKENS });
  if (config.databaseUrl) {
    return { config, url: config.databaseUrl, listenUrl: config.listenUrl!, embedded: false, stop: async () => {} };
  }
  const [{ startEmbedded }, { keptSecret }] = await Promise.all([
    import("../embedded/start.ts"),
    import("../embedded/secret.ts"),
  ]);
  const embedded = await startEmbedded({ dir: config.dataDir, log });
  const jwtSecret = tokens
    ? (config.jwtSecret ?? (config.jwksUrl ? undefined : keptSecret(config.dataDir)))
    : undefined;
  return {
    config: { ...config, jwtSecret },
    url: embedded.url,
    listenUrl: embedded.url,
    embedded: true,
    stop: () => embedded.stop(),
  };
}

/**
 * Runs `work` with a connection, and lets go of everything afterwards.
 * @throws TidingsError "database" for what Postgres or the way to it refused, with its own hint
 */
export async function withDatabase<T>(work: (sql: Sql, database: Database) => Promise<T>): Promise<T> {
  const database = await openDatabase((text) => process.stderr.write(`tidings: ${text}\n`), false);
  const sql = connect(database.url, { max: 2, name: "command line" });
  try {
    return await work(sql, database);
  } catch (error) {
    throw asTold(error);
  } finally {
    await close(sql);
    await database.stop();
  }
}

function asTold(error: unknown): unknown {
  const { code, detail, hint } = error as { code?: unknown; detail?: string; hint?: string };
  if (error instanceof TidingsError || typeof code !== "string") return error;
  const text = describe(error);
  if (/^(CONN|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|28|3D|08)/.test(code)) {
    return new TidingsError("database", `The database cannot be used (${text}): check DATABASE_URL.`, { cause: error });
  }
  if (!/^[0-9A-Z]{5}$/.test(code)) return error;
  // no schema, table or function of ours: nobody has migrated this database yet, or an older version has
  const behind = /^(3F000|42P01|42883)$/.test(code) && /\btidings[."]/.test(text);
  const advice = behind ? "Run `tidings migrate` first." : hint;
  const parts = [text.replace(/\.$/, ""), detail, advice].filter((part) => part);
  return new TidingsError("database", parts.join("\n  "), { cause: error });
}
