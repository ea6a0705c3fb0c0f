/** `tidings partition`: splits tidings.notification by hash of user_id while the service runs, or tells how far that is. */
import process from "node:process";
import type { Sql } from "../db/client.ts";
import { abortPartition, dropOld, type PartitionState, partition, partitionState } from "../db/partition.ts";
import type { PartitionOptions } from "../db/partition_session.ts";
import { type Command, type ExitCode, UsageError } from "./command.ts";
import { withDatabase } from "./database.ts";

const VERBS = ["status", "abort", "drop-old"] as const;
/** Milliseconds between lines of progress where nobody looks on. */
const LINE_MS = 5_000;

export const command: Command = {
  usage: "[--partitions N] [--batch N] | --status | --abort | --drop-old",
  about:
    "Partitions tidings.notification by hash of user_id while servers and writers go on; for many millions of entries. Copies the table\n" +
    "beside itself (disk for a second one), follows what is written, compares, and exchanges the two in a moment. Ended by whatever,\n" +
    "it goes on when run again. The old table stays until --drop-old. As the table's owner, over a direct connection.",
  options: {
    partitions: { value: "N", help: "how many; 16" },
    batch: { value: "N", help: "rows copied per transaction; 5000" },
    status: { help: "tell how far it is; exit code 1 where it is under way" },
    abort: { help: "undo what is under way" },
    "drop-old": { help: "drop the table from before" },
  },
  run(input) {
    if (input.words.length > 0) throw new UsageError("it takes no arguments.");
    const verbs = VERBS.filter((verb) => input.is(verb));
    const partitions = input.whole("partitions", 2, 1_024);
    const batch = input.whole("batch", 1, 1_000_000);
    if (verbs.length > 1 || (verbs.length > 0 && (partitions ?? batch) !== undefined)) {
      throw new UsageError(`--${verbs[0]} goes by itself.`);
    }
    return withDatabase((sql, { url }) =>
      interruptible((signal) => {
        const options: PartitionOptions = {
          partitions: partitions ?? 16,
          batch: batch ?? 5_000,
          signal,
          ...reporter(),
        };
        if (verbs[0] === "status") return tellStatus(sql);
        return { abort, "drop-old": drop, run: start }[verbs[0] ?? "run"](url, options);
      }),
    );
  },
};

function line(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function start(url: string, options: PartitionOptions): Promise<ExitCode> {
  const done = await partition(url, options);
  if (!done && options.signal.aborted) {
    process.stderr.write("tidings: stopped; run it again to go on, or with --abort to undo it.\n");
    return 1;
  }
  if (done) line("Done. `tidings partition --drop-old` frees the disk of the old table, tidings.notification_old.");
  return 0;
}

async function abort(url: string, options: PartitionOptions): Promise<ExitCode> {
  line((await abortPartition(url, options)) ? "Undone: tidings.notification is as it was." : "Nothing is under way.");
  return 0;
}

async function drop(url: string, options: PartitionOptions): Promise<ExitCode> {
  line((await dropOld(url, options)) ? "Dropped tidings.notification_old." : "There is no old table.");
  return 0;
}

async function tellStatus(sql: Sql): Promise<ExitCode> {
  const state = await partitionState(sql);
  for (const text of statusOf(state)) line(text);
  return state.job ? 1 : 0;
}

function statusOf({ layout, partitions, job, oldBytes }: PartitionState): string[] {
  const table =
    layout === "plain"
      ? "a plain table"
      : layout === "hash"
        ? `${partitions} partitions by hash of user_id`
        : `${partitions} partitions`;
  return [
    `tidings.notification: ${table}`,
    ...(job
      ? [
          `under way: ${job.partitions} partitions, ${Math.floor(job.done * 100)} % copied (${job.copied} rows), ${job.notes} changes to follow`,
        ]
      : []),
    ...(oldBytes === null ? [] : [`tidings.notification_old: ${Math.round(oldBytes / 2 ** 20)} MB, until --drop-old`]),
  ];
}

/** On a terminal one line that changes; else a line now and then. */
function reporter(): Pick<PartitionOptions, "tell" | "progress"> {
  const terminal = process.stdout.isTTY;
  let last = performance.now();
  return {
    tell: (text) => line(terminal ? `\r\x1b[K${text}` : text),
    progress(text) {
      if (terminal) process.stdout.write(`\r\x1b[K${text}`);
      else if (performance.now() - last > LINE_MS) {
        last = performance.now();
        line(text);
      }
    },
  };
}

/** The first Ctrl-C ends it after the batch at hand; a second one at once. */
async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const asked = (): void => stop.abort();
  process.once("SIGINT", asked).once("SIGTERM", asked);
  try {
    return await work(stop.signal);
  } finally {
    process.off("SIGINT", asked).off("SIGTERM", asked);
  }
}
