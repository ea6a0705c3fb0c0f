/** A Postgres of the test's own, to be stopped, crashed and started again at the same address. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { close, connect } from "../../src/db/client.ts";
import { type Embedded, startEmbedded } from "../../src/embedded/start.ts";

export interface Cluster {
  readonly url: string;
  /** Ends it: `fast` as a service manager does, `crash` without a checkpoint, so that it recovers at its next start. */
  down(how: "fast" | "crash"): Promise<void>;
  up(): Promise<void>;
  /** Starts it again, whatever is left of it: it has ended by itself, or is about to. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const SIGNAL = { fast: "SIGINT", crash: "SIGQUIT" } as const;

/** The writes of a committed transaction survive a crash of the server also without fsync, though not one of the machine. */
const SURVIVES = ["synchronous_commit=on", "full_page_writes=on"];

/** @param below the folder that its own is made in */
export async function cluster(flags: readonly string[] = [], below = tmpdir()): Promise<Cluster> {
  const dir = mkdtempSync(join(below, "tidings-model-"));
  chmodSync(dir, 0o711);
  const start = (): Promise<Embedded> =>
    startEmbedded({ dir: join(dir, "postgres"), fast: true, flags: ["max_connections=200", ...SURVIVES, ...flags] });
  let server: Embedded | null = await start();
  const { url } = server;

  async function postmaster(): Promise<number> {
    const sql = connect(url, { max: 1, name: "test" });
    try {
      const [row] = await sql<{ pid: number }[]>`
        select (regexp_match(pg_read_file('postmaster.pid'), '^\\d+'))[1]::int as pid`;
      return row!.pid;
    } finally {
      await close(sql, 1);
    }
  }

  async function letGo(): Promise<void> {
    await server?.stop();
    server = null;
  }

  async function up(): Promise<void> {
    for (let tries = 1; server === null; tries++) {
      server = await start();
      if (server.url === url) return;
      // somebody else has taken the port meanwhile
      await letGo();
      if (tries === 20) throw new Error("Postgres did not get its port back");
      await sleep(500);
    }
  }

  return {
    url,
    up,
    async down(how) {
      process.kill(await postmaster(), SIGNAL[how]);
      await letGo();
    },
    async restart() {
      await letGo();
      await up();
    },
    async stop() {
      await server?.stop();
      rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
}
