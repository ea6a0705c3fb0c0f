/**
 * A bus over whatever `dial` connects to: one connection at a time, watched by pings, made anew with jittered waits
 * whenever it is lost. Up means: both rights (subscribe, publish) were tried and every wanted subscription is confirmed.
 * What an engine answers with an error ends the connection: half a subscription is never taken for a whole one.
 * A half-open connection is noticed within `beatMs + beatTimeoutMs`.
 */
import { backoff } from "../backoff.ts";
import { TidingsError } from "../errors.ts";
import type { Bus, BusMessage, BusOptions } from "./bus.ts";
import type { Dial, Link } from "./link.ts";
import { asError, createSession, type Session, sleep } from "./session.ts";
import { createSubscriptions } from "./subscriptions.ts";

/** Waits between tries. Jittered from 0: of many instances that lost one engine, some are back at once. */
const RETRY = { baseMs: 200, capMs: 5_000 };
/** For connecting. */
const DIAL_MS = 5_000;
/** For making all subscriptions on a new connection. */
const RENEW_MS = 20_000;
/** Messages of one publish that are handed to the client at a time, all without waiting. */
const PIECE = 1_000;
/** No group of anybody: ours have a word before their underscore. Empty, so that other instances know it for nothing. */
const PROBE: BusMessage = { group: "_probe", text: "" };

const encoder = new TextEncoder();

function isTooBig(text: string, maxBytes: number): boolean {
  // No UTF-16 unit takes more than three bytes.
  return text.length * 3 > maxBytes && encoder.encode(text).length > maxBytes;
}

function unavailable(cause?: unknown): TidingsError {
  return new TidingsError("unavailable", "The message bus is down; what was missed is in the tables.", { cause });
}

function createReadiness(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let settle!: { resolve(): void; reject(error: Error): void };
  const promise = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Whoever has called start() holds the promise itself; nobody else is to be bothered.
  promise.catch(() => {});
  return { promise, ...settle };
}

/** Runs callbacks of the owner: what they throw is reported, and never reaches a client's parser. */
function createGuard(options: BusOptions): { call(callback: () => void): void; report(thrown: unknown): void } {
  const report = (thrown: unknown): void => {
    try {
      options.onError?.(asError(thrown));
    } catch {
      // Nobody is left to tell.
    }
  };
  const call = (callback: () => void): void => {
    try {
      callback();
    } catch (error) {
      report(error);
    }
  };
  return { call, report };
}

/** Tries both rights, so that a missing one is a mistake told at the start and not a silence later. */
async function probe(link: Link): Promise<void> {
  await link.subscribe([PROBE.group]);
  await link.publish([PROBE]);
  await link.unsubscribe([PROBE.group]);
  // An engine may tell of a refused message by the way, just before it confirms.
  await new Promise((resolve) => setImmediate(resolve));
}

/** Makes a bus that is not started yet. */
export function keepBus(options: BusOptions, dial: Dial): Bus {
  const { url, prefix, beatMs = 2_500, beatTimeoutMs = 2_500 } = options;
  const { call, report } = createGuard(options);
  const retry = backoff(RETRY);
  const stopping = new AbortController();
  const ready = createReadiness();
  let session: Session | undefined;
  let live: Link | null = null;
  let [everUp, isTold] = [false, false];
  let loop: Promise<void> | undefined;
  const subscriptions = createSubscriptions((error) => session?.end(error), unavailable);

  async function open(current: Session): Promise<Link> {
    const { signal, end, within } = current;
    const onMessage = (text: string): void => {
      current.heard();
      if (text !== PROBE.text) call(() => options.onMessage(text));
    };
    // Not left behind when the session ends: a driver rejects soon after, and whatever it has made is closed.
    const dialled = dial({ url, prefix, signal, onMessage, onLost: end });
    await within(DIAL_MS, `The message bus did not answer within ${DIAL_MS} ms.`, dialled).catch(end);
    const link = await dialled;
    signal.addEventListener("abort", () => void link.close());
    if (signal.aborted) await link.close();
    await within(DIAL_MS, `The message bus did not answer within ${DIAL_MS} ms.`, probe(link));
    await within(RENEW_MS, `The subscriptions were not confirmed within ${RENEW_MS} ms.`, subscriptions.attach(link));
    return link;
  }

  async function beat(link: Link, { signal, within }: Session): Promise<never> {
    for (;;) {
      await sleep(beatMs, signal);
      await within(beatTimeoutMs, `The message bus was silent for ${beatTimeoutMs} ms.`, link.ping());
      // Not when it is up: an engine that accepts and drops at once is to be tried ever less often.
      retry.reset();
    }
  }

  /** Makes a connection and holds it for as long as it lives. Resolves with what ended it. */
  async function hold(): Promise<Error> {
    const current = createSession();
    session = current;
    const stop = (): void => current.end(stopping.signal.reason);
    stopping.signal.addEventListener("abort", stop);
    try {
      const link = await open(current);
      live = link;
      [everUp, isTold] = [true, false];
      call(() => options.onUp());
      ready.resolve();
      return await beat(link, current);
    } catch (error) {
      live = null;
      current.end(error);
      subscriptions.detach(unavailable(current.signal.reason));
      return current.signal.reason;
    } finally {
      stopping.signal.removeEventListener("abort", stop);
    }
  }

  async function keep(): Promise<void> {
    while (!stopping.signal.aborted) {
      const error = await hold();
      if (stopping.signal.aborted) break;
      report(error);
      if (!everUp && error instanceof TidingsError && error.code === "configuration") return ready.reject(error);
      if (!isTold) call(() => options.onDown(error));
      isTold = true;
      await sleep(retry.next(), stopping.signal);
    }
  }

  async function publish(messages: readonly BusMessage[]): Promise<readonly BusMessage[]> {
    const [link, current] = [live, session];
    if (!link || !current) throw unavailable();
    const { maxBytes } = link;
    const tooBig = messages.filter(({ text }) => isTooBig(text, maxBytes));
    const fitting = tooBig.length === 0 ? messages : messages.filter((message) => !tooBig.includes(message));
    // A piece that was taken is a sign of life: the answer to a ping stands behind all that is on its way.
    const hand = async (piece: readonly BusMessage[]): Promise<void> => {
      await current.until(link.publish(piece));
      current.heard();
    };
    const starts = Array.from({ length: Math.ceil(fitting.length / PIECE) }, (_, n) => n * PIECE);
    try {
      await Promise.all(starts.map((at) => hand(fitting.slice(at, at + PIECE))));
    } catch (error) {
      current.end(error);
      throw unavailable(error);
    }
    return tooBig;
  }

  return {
    start() {
      if (!stopping.signal.aborted) loop ??= keep();
      return ready.promise;
    },
    subscribe: (group) => subscriptions.add(group),
    unsubscribe: (group) => subscriptions.remove(group),
    publish,
    get up() {
      return live !== null;
    },
    async stop() {
      const reason = new TidingsError("unavailable", "The message bus was stopped.");
      stopping.abort(reason);
      await loop;
      ready.reject(reason);
    },
  };
}
