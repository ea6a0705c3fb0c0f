/**
 * A process that uses the embedded database, to be killed or stopped from a test.
 * Arguments: mode and directory. `hold` waits for the end of its standard input, then stops in order;
 * `write` inserts 1, 2, 3 … and prints each number once its commit is acknowledged.
 * The first line is JSON: {url, attached, dir} or {error, code}.
 */
import process from "node:process";
import postgres from "postgres";
import { startEmbedded } from "../../src/embedded/start.ts";
import { TidingsError } from "../../src/errors.ts";

const [mode = "hold", dir = ""] = process.argv.slice(2);

async function write(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  await sql`drop table if exists written`;
  await sql`create table written (n int primary key)`;
  for (let n = 1; ; n++) {
    await sql`insert into written values (${n})`;
    process.stdout.write(`${n}\n`);
  }
}

try {
  const log = (text: string): void => void process.stderr.write(`${text}\n`);
  const database = await startEmbedded({ dir, log });
  const { url, attached, dir: home } = database;
  process.stdout.write(`${JSON.stringify({ url, attached, dir: home })}\n`);
  if (mode === "write") await write(url);
  process.stdin.resume();
  process.stdin.on("end", async () => {
    await database.stop();
    process.exit(0);
  });
} catch (error) {
  const code = error instanceof TidingsError ? error.code : "unexpected";
  process.stdout.write(`${JSON.stringify({ error: String(error), code })}\n`);
  process.exit(1);
}
