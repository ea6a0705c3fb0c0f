/**
 * The Postgres of a run: the server TEST_DATABASE_URL names, else one embedded server for the whole run, without
 * fsync, in a temporary folder that is removed at the end. Files of test/unit alone need none.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestFile } from "./collect.ts";

/** Two files at a time, each with several pools, LISTEN connections and servers under test; the benchmark asks for commit times, some tests prepare transactions. */
const FLAGS = ["max_connections=300", "track_commit_timestamp=on", "max_prepared_transactions=5"];

/** Runs `work` with TEST_DATABASE_URL set for the children. */
export async function withPostgres(files: readonly TestFile[], work: () => Promise<number>): Promise<number> {
  if (process.env.TEST_DATABASE_URL || files.every(({ name }) => name.startsWith("unit/"))) return work();
  const { startEmbedded } = await import("../../src/embedded/start.ts");
  const folder = mkdtempSync(join(tmpdir(), "tidings-test-"));
  // As root the server runs under another account, which must reach its folder.
  chmodSync(folder, 0o711);
  try {
    const server = await startEmbedded({ dir: join(folder, "postgres"), fast: true, flags: FLAGS });
    process.env.TEST_DATABASE_URL = server.url;
    try {
      return await work();
    } finally {
      await server.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
