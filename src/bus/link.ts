/**
 * What an engine's driver has to provide: one connection, made once, lost once. No driver reconnects, batches, remembers
 * or times anything: keep.ts does, in one way for all engines.
 */
import { describe, TidingsError } from "../errors.ts";
import type { BusMessage } from "./bus.ts";

export interface DialOptions {
  readonly url: string;
  readonly prefix: string;
  onMessage(text: string): void;
  /** The connection is of no use any more. More than once does no harm. */
  onLost(error: Error): void;
  /** Aborted when the connection is no longer wanted: by a deadline, by `stop()`, or after `onLost`. */
  readonly signal: AbortSignal;
}

/**
 * Makes one connection, ready for use. Rejects with TidingsError "configuration" on what trying again does not cure;
 * rejects soon, with nothing left behind, when the signal is aborted.
 */
export type Dial = (options: DialOptions) => Promise<Link>;

/** One connection. Its promises may stay open for ever when the connection is lost. */
export interface Link {
  /** The longest text in UTF-8 bytes that the engine takes. */
  readonly maxBytes: number;
  /** Resolves when the engine has confirmed all of them. */
  subscribe(groups: readonly string[]): Promise<unknown>;
  /** Resolves when the same groups may be subscribed to again. */
  unsubscribe(groups: readonly string[]): Promise<unknown>;
  /** Resolves when the engine has taken all of them; each fits. */
  publish(messages: readonly BusMessage[]): Promise<unknown>;
  /** Resolves when the engine has answered. */
  ping(): Promise<unknown>;
  /** Ends the connection at once. Never rejects. */
  close(): Promise<void>;
}

/** Imports a client package that is only needed with its engine. */
export async function loadClient<T>(name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const text = `BUS_URL needs the package ${name}, which could not be loaded (${describe(cause)}): npm install ${name}`;
    throw new TidingsError("configuration", text, { cause });
  }
}

/** The host of an address as sockets take it: an IPv6 address without its brackets. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, "$1");

/** The address of the engine. Its mistakes are told without the address, which may hold a password. */
export function parseAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url?.hostname) throw new TidingsError("configuration", "BUS_URL (not shown) is not an address.");
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    const text = "The user or password in BUS_URL (not shown) has a % that is not followed by two digits: write %25.";
    throw new TidingsError("configuration", text);
  }
  return url;
}
