/**
 * Reads new entries and messages out of the WAL by logical decoding, over a temporary slot: it goes with its connection,
 * so that no abandoned slot can fill the disk. What was written while the connection was down is not seen: `onUp` is
 * the cue to read the tables. Never tells of what was rolled back.
 *
 * The publication is made where it is missing. One that does not publish what is needed is never read from: not at the
 * start, not later.
 *
 * Making a slot waits for every transaction that is writing at that moment; until then this is not up.
 */
import { sleep, within } from "../deadline.ts";
import { TidingsError } from "../errors.ts";
import { asError, createKeeper, type Keeper, type Life } from "../keeper.ts";
import type { Columns } from "../protocol/stored.ts";
import type { Sql } from "./client.ts";
import { mistakeOf } from "./mistake.ts";
import { createDecoder, type Handlers } from "./pgoutput.ts";
import { PUBLICATION, publish, untilAltered } from "./publication.ts";
import { openSingle, type Single } from "./single.ts";

/** An inserted row of tidings.notification, or a message that was emitted with the prefix `tidings`. */
export type Told = Columns | string;

export interface WalOptions {
  /** A direct connection of a role with the attribute REPLICATION. */
  url: string;
  /** Takes queries while the WAL is read; null while there is none. The publication is looked at on it. */
  connection(): Sql | null;
  /**
   * A commit, in commit order; other sessions may not see it yet (snapshot.ts). Null: it is too big to be told of, what
   * it stored is to be looked for in the tables.
   */
  onCommit(xid: number, told: readonly Told[] | null): void;
  onUp(): void;
  /** Once per outage. Not called by `stop()`. */
  onDown(error: Error): void;
  onError?(error: Error): void;
  /** Milliseconds between two questions whether the server and the publication are still there. Default 2500. */
  beatMs?: number | undefined;
  /** Milliseconds an answer may take. Default 2500. */
  beatTimeoutMs?: number | undefined;
}

export type Wal = Pick<Keeper, "start" | "stop">;

/** wal_level is too low, no such publication. */
const NOT_HERE = ["55000", "42704"];
/** What reading the WAL takes. */
const NEEDS = `wal_level = logical, a role with REPLICATION on a direct connection, and the publication "${PUBLICATION}"`;
const CONNECT_MS = 15_000;
const SILENT = "Postgres did not answer on the connection the WAL is read on within 15 s.";
const LEAVE_MS = 1_000;
const BEAT_MS = 2_500;
/** Rows and messages of one transaction that are held until its commit. */
const MOST_HELD = 20_000;
/** Microseconds from the Unix epoch to that of Postgres, 2000-01-01. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;

export function createWal(options: WalOptions): Wal {
  const keeper: Keeper = createKeeper({
    hold: (life) => holdWal(options, life, (callback) => keeper.call(callback)),
    onUp: () => options.onUp(),
    onDown: (error) => options.onDown(error),
    onError: options.onError,
    mistake: (error) =>
      mistakeOf(error, (why) => `The WAL cannot be read: ${why}. It takes ${NEEDS}: see tidings doctor.`, NOT_HERE),
  });
  return keeper;
}

async function holdWal(options: WalOptions, life: Life, call: (callback: () => void) => void): Promise<void> {
  const over = new AbortController();
  const stop = (): void => over.abort(life.signal.reason);
  life.signal.addEventListener("abort", stop);
  const single = openSingle(options.url, {
    name: "wal",
    // as tidings.utc() has it
    parameters: { replication: "database", timezone: "UTC", datestyle: "ISO" },
    onNotify() {},
    onClose: () => over.abort(new TidingsError("unavailable", "Postgres closed the connection the WAL is read on.")),
  });
  let stream: CopyBoth | undefined;
  try {
    if (life.signal.aborted) throw life.signal.reason;
    const opened = await open(single, over.signal);
    stream = opened.stream;
    void watchPublication(opened.mark, options, life, over);
    const read = createReader(options, stream, call, (error) => over.abort(error));
    life.onUp();
    life.onDown(await keepAsking(read, options, life, over.signal));
  } finally {
    life.signal.removeEventListener("abort", stop);
    over.abort();
    stream?.end();
    await (stream && life.signal.aborted ? single.leave(LEAVE_MS) : single.cut());
  }
}

type CopyBoth = Awaited<ReturnType<ReturnType<Sql["unsafe"]>["writable"]>>;

async function open({ sql }: Single, signal: AbortSignal): Promise<{ stream: CopyBoth; mark: string }> {
  // before the slot: what is read is decoded by the publication as it was when it was written
  await within(publish(sql), CONNECT_MS, SILENT, signal);
  const slot = `tidings_${crypto.randomUUID().replaceAll("-", "")}`;
  const never = 2 ** 31 - 1; // it waits for open transactions as long as they last
  const making = sql.unsafe(`CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`);
  const [made] = await within(making, never, "", signal);
  // that may have been long ago
  const mark = await within(publish(sql), CONNECT_MS, SILENT, signal);
  const start = `START_REPLICATION SLOT ${slot} LOGICAL ${made!.consistent_point} (proto_version '1', publication_names '${PUBLICATION}', messages 'on')`;
  return { stream: await within(sql.unsafe(start).writable(), CONNECT_MS, SILENT, signal), mark };
}

/** Postgres goes on without a word when the publication loses its table, since version 18 when it is dropped too. */
async function watchPublication(mark: string, options: WalOptions, life: Life, over: AbortController): Promise<void> {
  const { connection, beatMs: ms = BEAT_MS } = options;
  const altered = await untilAltered(mark, { connection, ms, signal: over.signal, onError: life.onError });
  if (altered) over.abort(altered);
}

interface Reading {
  /** When anything last came, milliseconds. */
  heardAt(): number;
  /** Tells the server how far we are, and has it answer. */
  ask(): void;
}

function createReader(
  options: WalOptions,
  stream: CopyBoth,
  call: (callback: () => void) => void,
  failed: (error: Error) => void,
): Reading {
  let position = 0n;
  let heardAt = performance.now();
  const decode = createDecoder("tidings", "notification", collector(options, call));
  /** Everything up to here may go: a temporary slot is never resumed. */
  const report = (askBack: boolean): void => {
    const status = Buffer.alloc(34);
    status.write("r");
    for (const offset of [1, 9, 17]) status.writeBigUInt64BE(position, offset);
    status.writeBigInt64BE(BigInt(Date.now()) * 1_000n - POSTGRES_EPOCH_US, 25);
    status[33] = askBack ? 1 : 0;
    if (stream.writable) stream.write(status);
  };
  stream.on("error", failed);
  stream.on("data", (chunk: Buffer) => {
    heardAt = performance.now();
    try {
      // 'w': start, end, clock, payload; 'k': end, clock, whether an answer is wanted
      if (chunk[0] === 0x77) {
        position = chunk.readBigUInt64BE(1);
        decode(chunk.subarray(25));
      } else if (chunk[0] === 0x6b) {
        position = chunk.readBigUInt64BE(1);
        if (chunk[17] === 1) report(false);
      }
    } catch (error) {
      failed(asError(error));
    }
  });
  return { heardAt: () => heardAt, ask: () => report(true) };
}

/** Collects a transaction. */
function collector({ onCommit }: WalOptions, call: (callback: () => void) => void): Handlers {
  let xid = 0;
  let told: Told[] = [];
  const add = (one: Told): void => {
    if (told.length <= MOST_HELD) told.push(one);
  };
  return {
    begin(of) {
      xid = of;
      told = [];
    },
    row: add,
    message(prefix, text) {
      if (prefix === "tidings") add(text);
    },
    commit() {
      const all = told;
      told = [];
      if (all.length > 0) call(() => onCommit(xid, all.length > MOST_HELD ? null : all));
    },
  };
}

/** Asks every `beatMs`; returns when nothing came in time, or the connection is over. */
async function keepAsking(read: Reading, options: WalOptions, life: Life, signal: AbortSignal): Promise<Error> {
  const { beatMs = BEAT_MS, beatTimeoutMs = 2_500 } = options;
  for (;;) {
    await sleep(beatMs, signal);
    if (signal.aborted) return asError(signal.reason);
    const askedAt = performance.now();
    read.ask();
    while (read.heardAt() < askedAt && performance.now() - askedAt < beatTimeoutMs && !signal.aborted) {
      await sleep(20, signal);
    }
    if (signal.aborted) return asError(signal.reason);
    if (read.heardAt() < askedAt) {
      return new TidingsError("unavailable", `Postgres sent nothing on the WAL within ${beatTimeoutMs} ms.`);
    }
    life.onAlive();
  }
}
