/** The database a command works on: DATABASE_URL, or the embedded one, started where it is not running. */
import process from "node:process";
import { type Config, readConfig } from "../config.ts";

export interface Database {
  readonly config: Config;
  readonly url: string;
  readonly listenUrl: string;
  readonly embedded: boolean;
  stop(): Promise<void>;
}

/** @param log told what is unusual about the embedded database */
export async function openDatabase(log: (text: string) => void): Promise<Database> {
  const config = readConfig(process.env);
  if (config.databaseUrl) {
    return { config, url: config.databaseUrl, listenUrl: config.listenUrl!, embedded: false, stop: async () => {} };
  }
  const [{ startEmbedded }, { keptSecret }] = await Promise.all([
    import("../embedded/start.ts"),
    import("../embedded/secret.ts"),
  ]);
  const embedded = await startEmbedded({ dir: config.dataDir, log });
  const jwtSecret = config.jwtSecret ?? (config.jwksUrl ? undefined : keptSecret(config.dataDir));
  return {
    config: { ...config, jwtSecret },
    url: embedded.url,
    listenUrl: embedded.url,
    embedded: true,
    stop: () => embedded.stop(),
  };
}
