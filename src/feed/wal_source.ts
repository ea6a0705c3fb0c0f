/** The WAL as a source: makes sure of its publication, keeps it read, and tells when it is. */
import type { Sql } from "../db/client.ts";
import { createWal, type Wal, type WalOptions } from "../db/wal.ts";
import { publish } from "../db/wal_needs.ts";
import type { ServiceLog } from "../log.ts";

export interface WalSourceOptions {
  readonly sql: Sql;
  readonly url: string;
  readonly log: ServiceLog;
  readonly beatMs?: number | undefined;
  readonly beatTimeoutMs?: number | undefined;
  /** As WalOptions has it. */
  onCommit: WalOptions["onCommit"];
  /** It is read from now on, or no more. */
  changed(up: boolean): void;
}

export interface WalSource {
  /** Resolves once the WAL is read. Rejects with TidingsError "configuration" where it cannot be. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
}

export function createWalSource(options: WalSourceOptions): WalSource {
  const { log, changed } = options;
  let up = false;
  const wal: Wal = createWal({
    url: options.url,
    beatMs: options.beatMs,
    beatTimeoutMs: options.beatTimeoutMs,
    onCommit: options.onCommit,
    onUp() {
      up = true;
      changed(true);
    },
    onDown(error) {
      up = false;
      changed(false);
      log.warn({ err: error }, "the WAL is not read; NOTIFY is used until it is again");
    },
    onError: (error) => log.debug?.({ err: error }, "reading the WAL"),
  });
  return {
    async start() {
      await publish(options.sql);
      await wal.start();
    },
    async stop() {
      up = false;
      await wal.stop();
    },
    get up() {
      return up;
    },
  };
}
