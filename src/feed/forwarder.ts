/**
 * What the one instance does that reads the WAL for all: it hands on what was committed, in order and in batches, to an
 * outlet. Where the WAL cannot be read, writers NOTIFY, and the forwarder of a bus is handed what they say.
 */
import type { BusMessage } from "../bus/bus.ts";
import { isTooBig } from "../bus/size.ts";
import type { Told } from "../db/wal.ts";
import { atMost } from "../deadline.ts";
import { describe, isMistake } from "../errors.ts";
import { parseEnvelopes } from "../protocol/envelope.ts";
import { briefEnvelopeOf, type Stored, storedOf } from "../protocol/stored.ts";
import type { Role } from "./claims.ts";
import { createQueue, LOST, type Outlet, SEEN } from "./queue.ts";
import { createWalSource, type WalSource } from "./wal_source.ts";
import type { WayOptions } from "./way.ts";

/** Where it hands on to, and how. */
export interface Target {
  readonly outlet: Outlet;
  /** How an entry travels there. */
  readonly format: (entry: Stored) => string;
  /** Of a message. Longer entries are read by those who have streams for them. */
  readonly mostBytes: number;
  /** What this instance is while it reads the WAL, and what it is while it does not forward. */
  readonly roles: { readonly reading: Role; readonly resting: Role };
}

export interface Forwarder {
  begin(): void;
  end(): void;
  /** Between `begin` and `end`. */
  readonly active: boolean;
  readonly readsWal: boolean;
  /** Hands on the text of a NOTIFY. */
  heard(text: string): void;
  /** Something may have been missed: has all instances look into their tables, where this one forwards. */
  missed(): void;
  /** After it, nothing is handed on any more. */
  stop(): Promise<void>;
}

/** Reading begins when all transactions that were open have ended. */
const LATE_MS = 5_000;
const GRACE_MS = 200;
/** Between two tries of what trying again does not cure. */
const AGAIN_MS = 15_000;

export function createForwarder(options: WayOptions, target: Target): Forwarder {
  const { claims, log } = options;
  const { outlet, roles } = target;
  const failed = (error: unknown): void => log.warn({ err: error }, "handing on entries failed");
  let isStuck = false;
  const queue = createQueue(outlet, {
    failed,
    stuck(now) {
      isStuck = now;
      if (now) log.warn({}, "nothing of what is read from the WAL is taken; NOTIFY is used until it is");
      play();
    },
  });
  let active: WalSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  /** What keeps the WAL from being read, as it was said last. */
  let told = "";
  let ending: Promise<unknown> = Promise.resolve();

  function begin(): void {
    read();
    play();
    queue.lost();
  }

  function read(): void {
    const source: WalSource = createWalSource({
      ...options,
      url: options.listenUrl,
      onCommit(xid, told) {
        // another may do it by now
        if (source === active) put(xid, told);
      },
      changed() {
        if (source !== active) return;
        if (source.up) told = "";
        play();
        queue.lost();
      },
    });
    active = source;
    void watch(source);
  }

  function play(): void {
    claims.plays(!active ? roles.resting : active.up && !isStuck ? roles.reading : "hears");
  }

  function put(xid: number, told: readonly Told[] | null): void {
    try {
      queue.put(xid, told?.flatMap((one) => messagesOf(one, target)) ?? LOST.messages);
    } catch (error) {
      failed(error);
      queue.put(xid, LOST.messages);
    }
  }

  /** NOTIFY stands in until it is up: for good where it never can be, or until somebody mends what keeps it from it. */
  async function watch(source: WalSource): Promise<void> {
    const starting = source.start().catch((error: unknown) => {
      // or it was stopped
      if (source !== active || !isMistake(error)) return;
      const text = `NOTIFY is used, for the WAL cannot be read: ${describe(error)}`;
      if (text !== told) log.warn({}, text);
      told = text;
      again = setTimeout(read, AGAIN_MS);
    });
    if (await atMost(LATE_MS, starting)) return;
    if (source === active)
      log.warn({}, "the WAL is not read yet, probably a transaction is open; NOTIFY is used until then");
  }

  function end(): void {
    clearTimeout(again);
    const source = active;
    active = undefined;
    play();
    ending = Promise.all([ending, source?.stop()]);
  }

  return {
    begin,
    end,
    get active() {
      return active !== undefined;
    },
    get readsWal() {
      return active?.up === true;
    },
    heard(text) {
      if (active) put(SEEN, [text]);
    },
    missed() {
      if (active) queue.lost();
    },
    async stop() {
      // who is committing just now has counted on it
      if (active?.up) await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
      await Promise.all([ending, active?.stop()]);
      end();
      await queue.stop();
    },
  };
}

function messagesOf(told: Told, { format, mostBytes }: Target): BusMessage[] {
  if (typeof told === "string") {
    const messages = parseEnvelopes(told).map((envelope) => ({
      group: envelope.group,
      text: JSON.stringify(envelope),
    }));
    // longer ones are of no function of ours
    return messages.filter(({ text }) => !isTooBig(text, mostBytes));
  }
  const entry = storedOf(told);
  const text = format(entry);
  return [{ group: `user_${entry.userId}`, text: isTooBig(text, mostBytes) ? briefEnvelopeOf(entry) : text }];
}
