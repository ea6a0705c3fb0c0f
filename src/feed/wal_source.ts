/** The WAL as a source: keeps it read, tells when it is, and warns of what keeps it from being read. */
import { createWal, type Wal, type WalOptions } from "../db/wal.ts";
import { isMistake } from "../errors.ts";
import type { ServiceLog } from "../log.ts";

export interface WalSourceOptions
  extends Pick<WalOptions, "url" | "connection" | "beatMs" | "beatTimeoutMs" | "onCommit"> {
  readonly log: ServiceLog;
  /** It is read from now on, or no more. */
  changed(): void;
}

export interface WalSource {
  /** Resolves once the WAL is read. Rejects with TidingsError "configuration" where it cannot be. */
  start(): Promise<void>;
  stop(): Promise<void>;
  readonly up: boolean;
}

export function createWalSource(options: WalSourceOptions): WalSource {
  const { url, connection, beatMs, beatTimeoutMs, onCommit, log, changed } = options;
  let [up, wasUp, warned] = [false, false, ""];
  const wal: Wal = createWal({
    url,
    connection,
    beatMs,
    beatTimeoutMs,
    onCommit,
    onUp() {
      [up, wasUp] = [true, true];
      changed();
    },
    onDown(error) {
      up = false;
      changed();
      warned = error.message;
      log.warn({ err: error }, "the WAL is not read; NOTIFY is used until it is again");
    },
    onError(error) {
      // found when it was to be read again: nobody else tells the operator, and trying on does not mend it
      if (!wasUp || !isMistake(error) || error.message === warned)
        return log.debug?.({ err: error }, "reading the WAL");
      warned = error.message;
      log.warn({ err: error }, "the WAL cannot be read again; NOTIFY is used until it can");
    },
  });
  return {
    start: () => wal.start(),
    async stop() {
      // until then it goes on reading
      await wal.stop();
      up = false;
    },
    get up() {
      return up;
    },
  };
}
