/**
 * A bus over whatever `dial` connects to: one connection at a time, watched by pings, made anew with jittered waits
 * whenever it is lost. Up means: both rights (subscribe, publish) were tried and every wanted subscription is confirmed.
 * What an engine answers with an error ends the connection: half a subscription is never taken for a whole one.
 * A half-open connection is noticed within `beatMs + beatTimeoutMs`.
 */
import { sleep } from "../deadline.ts";
import { isMistake, TidingsError } from "../errors.ts";
import { createKeeper, type Keeper, type Life } from "../keeper.ts";
import type { Bus, BusMessage, BusOptions } from "./bus.ts";
import type { Dial, Link } from "./link.ts";
import { createSession, type Session } from "./session.ts";
import { isTooBig } from "./size.ts";
import { createSubscriptions } from "./subscriptions.ts";

/** For connecting. */
const DIAL_MS = 5_000;
/** For making all subscriptions on a new connection. */
const RENEW_MS = 20_000;
/** Messages of one publish that are handed to the client at a time, all without waiting. */
const PIECE = 1_000;
/** No group of anybody: ours have a word before their underscore. Empty, so that other instances know it for nothing. */
const PROBE: BusMessage = { group: "_probe", text: "" };

function unavailable(cause?: unknown): TidingsError {
  return new TidingsError("unavailable", "The message bus is down; what was missed is in the tables.", { cause });
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
  let session: Session | undefined;
  let live: Link | null = null;
  const subscriptions = createSubscriptions((error) => session?.end(error), unavailable);
  const keeper: Keeper = createKeeper({
    hold,
    onUp: () => options.onUp(),
    onDown: (error) => options.onDown(error),
    onError: (error) => options.onError?.(error),
    mistake: (error) => (isMistake(error) ? error : undefined),
  });

  async function open(current: Session): Promise<Link> {
    const { signal, end, within } = current;
    const onMessage = (text: string): void => {
      current.heard();
      if (text !== PROBE.text) keeper.call(() => options.onMessage(text));
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

  async function beat(link: Link, { signal, within }: Session, life: Life): Promise<never> {
    for (;;) {
      await sleep(beatMs, signal);
      // A client may throw, where nobody can catch it, at what it is to send over a socket that has just ended.
      signal.throwIfAborted();
      await within(beatTimeoutMs, `The message bus was silent for ${beatTimeoutMs} ms.`, link.ping());
      life.onAlive();
    }
  }

  /** Makes a connection and holds it for as long as it lives. */
  async function hold(life: Life): Promise<void> {
    const current = createSession();
    session = current;
    const stop = (): void => current.end(life.signal.reason);
    life.signal.addEventListener("abort", stop);
    if (life.signal.aborted) stop();
    try {
      live = await open(current);
      life.onUp();
      await beat(live, current, life);
    } catch (error) {
      const wasUp = live !== null;
      live = null;
      current.end(error);
      subscriptions.detach(unavailable(current.signal.reason));
      if (!wasUp) throw current.signal.reason;
      life.onError(current.signal.reason);
      life.onDown(current.signal.reason);
    } finally {
      life.signal.removeEventListener("abort", stop);
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
    start: keeper.start,
    subscribe: (group) => subscriptions.add(group),
    unsubscribe: (group) => subscriptions.remove(group),
    publish,
    get up() {
      return live !== null;
    },
    stop: keeper.stop,
  };
}
