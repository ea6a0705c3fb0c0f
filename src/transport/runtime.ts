/**
 * What a runtime does for the routes, as an interface: http/ is handed one and never learns which runtime it is on.
 * Implemented by the files of runtime/.
 */
import type { Context } from "hono";
import type { PeerEvents, Sink } from "./peer.ts";

export interface Runtime {
  /**
   * Upgrades to a WebSocket; the route returns the response as it is. Without an upgrade in the request it is a 426.
   * The handshake is answered after all middleware has run, with the headers it has set. Where the app answers with
   * an error after all, or the client is gone by then, `events.closed(1006)` comes without an `open`.
   * @param protocol the subprotocol to select, one of those offered; undefined selects none
   */
  upgrade(c: Context, protocol: string | undefined, events: PeerEvents): Promise<Response>;
  /**
   * Answers with an SSE stream; the route returns the response as it is. The head is sent after all middleware has
   * run, with the headers it has set, then `open` is called.
   * @param headers further response headers
   * @param onClosed called exactly once: the client is gone or the response has ended, also where `open` never came
   *   (HEAD, an error in the app, a client that left early)
   */
  sse(
    c: Context,
    headers: Readonly<Record<string, string>>,
    open: (sink: Sink) => void,
    onClosed: () => void,
  ): Response | Promise<Response>;
  /** The peer's address as the kernel sees it, IPv4 in dotted form; empty where the connection is gone. */
  address(c: Context): string;
}
