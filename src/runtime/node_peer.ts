/**
 * A ws WebSocket as a Peer. Only ws is named here, and none of its private parts: the raw socket is the one the
 * server's `upgrade` event gave. Text goes to that one, between the frames that ws writes at once: it is one write
 * instead of two. Bun's ws has a socket of its own. Lean on purpose: listeners are shared functions, not four closures for each socket,
 * and nothing of the request is kept (Hono's context behind a socket costs 8 KB).
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type RawData, type Server, WebSocket, WebSocketServer } from "ws";
import type { Log, Peer, PeerEvents } from "../transport/peer.ts";
import { textFrame } from "./node_frame.ts";
import { corkThisTick, flushed, IS_BUN, queuedFor } from "./node_socket.ts";

const INTERNAL_ERROR = 1011;
/** [spec] RFC 6455 5.5: a control frame holds 125 bytes, two of them the code. */
const REASON_BYTES = 123;

/** What ws 8.23 takes and @types/ws 8.18 does not know yet. */
const limits: Record<string, unknown> = {
  /** Over it: 1009. The contract's 4 KiB is answered by an error frame, this is for those who mean harm. */
  maxPayload: 64 * 1024,
  /** A frame of no bytes costs its sender six and us an object. */
  maxFragments: 128,
  closeTimeout: 3000,
  clientTracking: false,
  perMessageDeflate: false,
};

/** ws's own class with one field more, so that the shared listeners find their peer. */
export class PeerSocket extends WebSocket {
  peer: NodePeer | null = null;
}

/** @param select the subprotocol chosen for a request; undefined: none */
export function createPeerServer(select: (request: IncomingMessage) => string | undefined): Server<typeof PeerSocket> {
  return new WebSocketServer({
    ...limits,
    noServer: true,
    WebSocket: PeerSocket,
    // ws takes the first offered one by default, which may be a token.
    handleProtocols: (_offered, request) => select(request) ?? false,
  });
}

/** Makes an accepted socket a peer and opens it. */
export function openPeer(ws: PeerSocket, socket: Socket, events: PeerEvents, log: Log): void {
  const peer = new NodePeer(ws, socket, events, log);
  ws.peer = peer;
  ws.on("message", onMessage).on("pong", onPong).on("error", onError).on("close", onClose);
  peer.run(() => events.open(peer));
}

class NodePeer implements Peer {
  readonly events: PeerEvents;
  readonly #ws: PeerSocket;
  readonly #socket: Socket;
  readonly #log: Log;

  constructor(ws: PeerSocket, socket: Socket, events: PeerEvents, log: Log) {
    this.events = events;
    this.#ws = ws;
    this.#socket = socket;
    this.#log = log;
  }

  get buffered(): number {
    return queuedFor(this.#socket, this.#ws.bufferedAmount);
  }

  send(text: string): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    corkThisTick(this.#socket);
    if (IS_BUN) this.#ws.send(text);
    else this.#socket.write(textFrame(text));
  }

  drained(): Promise<void> {
    return flushed(this.#socket);
  }

  close(code: number, reason: string): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    corkThisTick(this.#socket);
    this.#ws.close(
      code,
      Buffer.from(reason)
        .subarray(0, REASON_BYTES)
        .toString()
        .replace(/\uFFFD+$/, ""),
    );
  }

  kill(): void {
    this.#ws.terminate();
  }

  ping(): void {
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.ping();
  }

  /** The one guard around every callback: nothing thrown or rejected above may end the process. */
  run(callback: () => unknown): void {
    try {
      const result = callback();
      if (result instanceof Promise) result.catch((error: unknown) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#log.error({ err: error }, "a socket callback failed, its socket is closed");
    this.close(INTERNAL_ERROR, "internal error");
  }
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  const { peer } = this as PeerSocket;
  peer?.run(() => peer.events.message(isBinary ? null : data.toString()));
}

function onPong(this: WebSocket): void {
  const { peer } = this as PeerSocket;
  peer?.run(() => peer.events.pong?.());
}

/** A protocol error of the client; ws closes with 1002, 1007 or 1009 by itself. Unlistened, it would end the process. */
function onError(): void {}

function onClose(this: WebSocket, code: number): void {
  const { peer } = this as PeerSocket;
  (this as PeerSocket).peer = null;
  peer?.run(() => peer.events.closed(code));
}
