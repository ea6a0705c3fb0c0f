/**
 * The message bus: how envelopes travel between instances where Postgres NOTIFY is not to carry them. At most once, by
 * subjects: whoever holds a user or a room subscribes to its group. A bus only ever informs: what it loses (an outage,
 * a slow subscriber, a message too big) costs a read of the tables, never an entry, and `onUp` is the cue for that read.
 * Each engine is one file that dials one connection (link.ts); everything that is the same for all is in keep.ts.
 */
import { TidingsError } from "../errors.ts";
import { keepBus } from "./keep.ts";
import type { Dial } from "./link.ts";

export interface BusOptions {
  /**
   * `redis://`, `rediss://`, `valkey://`, `valkeys://`, `nats://` or `tls://`, with credentials as user and password, and
   * the files of TLS as `?sslrootcert=…&sslcert=…&sslkey=…`.
   */
  readonly url: string;
  /** Keeps deployments on one engine apart; first part of every subject. Letters, digits, `_`, `-`, and dots between them. */
  readonly prefix: string;
  /** A message on a group subscribed to: an envelope or a JSON array of envelopes. A late one may follow `unsubscribe`. */
  onMessage(text: string): void;
  /** The connection is there (again) and all subscriptions with it. What was published in between is gone. */
  onUp(): void;
  /** Once per outage: when the connection is lost, or at first cannot be made. Not called by `stop()`. */
  onDown(error: Error): void;
  /** Each failed attempt to connect, each callback that threw. Default: ignored. */
  onError?(error: Error): void;
  /** Milliseconds from the answer to one ping to the next ping. Default 2500. */
  readonly beatMs?: number | undefined;
  /** Milliseconds in which the engine has to answer a ping. Default 2500. */
  readonly beatTimeoutMs?: number | undefined;
}

export interface BusMessage {
  /** `user_42`, `room_7`: any text, case matters. */
  readonly group: string;
  readonly text: string;
}

export interface Bus {
  /**
   * Resolves once connected, after the first `onUp`, and keeps trying until then. Rejects on what trying again does not
   * cure (TidingsError "configuration": bad address, client package not installed, credentials or rights refused, an
   * engine too old), and when stopped before.
   */
  start(): Promise<void>;
  /**
   * Resolves once the engine has confirmed it: nothing published from then on is missed. Rejects at once while the bus
   * is down, or when it goes down; the subscription is remembered and is there at the next `onUp`. Idempotent; all of
   * one turn of the event loop are one command. A rejection nobody looks at bothers nobody.
   */
  subscribe(group: string): Promise<void>;
  unsubscribe(group: string): void;
  /**
   * Hands messages over, in the order of the calls and of each array; resolves when the engine has taken them, with
   * those that are too big for it and that nobody got. Rejects (`unavailable`) while down, or when it goes down.
   */
  publish(messages: readonly BusMessage[]): Promise<readonly BusMessage[]>;
  readonly up: boolean;
  /** Ends the connection and all tries, leaves no timer and no socket. Never rejects; safe in any order and more than once. */
  stop(): Promise<void>;
}

const DRIVERS: Readonly<Record<string, () => Promise<{ dial: Dial }>>> = {
  redis: () => import("./redis.ts"),
  rediss: () => import("./redis.ts"),
  valkey: () => import("./redis.ts"),
  valkeys: () => import("./redis.ts"),
  nats: () => import("./nats.ts"),
  tls: () => import("./nats.ts"),
};

/** Picks the driver by the address. A mistake in it is not thrown: `start()` rejects. Has one life: stopped, it does not start again. */
export function openBus(options: BusOptions): Bus {
  return keepBus(options, async (dialOptions) => {
    const [, scheme = ""] = /^([a-z]+):\/\//i.exec(options.url) ?? [];
    const load = Object.hasOwn(DRIVERS, scheme.toLowerCase()) ? DRIVERS[scheme.toLowerCase()] : undefined;
    if (!load) {
      const known = Object.keys(DRIVERS).map((name) => `${name}://`);
      throw new TidingsError("configuration", `BUS_URL must begin with one of ${known.join(", ")}.`);
    }
    if (!/^[\w-]+(\.[\w-]+)*$/.test(options.prefix)) {
      const text = "The prefix of the message bus must be letters, digits, _ and -, with single dots between them.";
      throw new TidingsError("configuration", text);
    }
    const { dial } = await load();
    return dial(dialOptions);
  });
}
