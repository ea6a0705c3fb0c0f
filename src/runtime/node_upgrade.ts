/**
 * Upgrade requests on Node: the guard in front of them, and the handshake at their end.
 * Between the two the request runs through the app like any other, with a response object on its socket (as
 * @fastify/websocket does), so that a refusal keeps its status, headers and body.
 * Promises: no input of a client ends the process; each request is answered in time or cut; every socket that came
 * this way can be cut at shutdown, for `server.closeAllConnections()` does not know them.
 */
import { type IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Log, PeerEvents } from "../transport/peer.ts";
import { createPeerServer, openPeer } from "./node_peer.ts";
import { holdHead } from "./node_socket.ts";

/** How long a refused client may take to read its answer and close, in ms. */
const LEAVE_MS = 10_000;
const ABNORMAL = 1006;
/** Headers of the app's answer that are not the handshake's: they would contradict it. */
const NOT_OF_A_HANDSHAKE = /^(content-.*|connection|upgrade|transfer-encoding|sec-websocket-.*)$/;
const REFUSAL = "Only GET with Upgrade: websocket is understood; send other requests without an Upgrade header.\n";

interface Pending {
  readonly socket: Socket;
  readonly head: Buffer;
  readonly outgoing: ServerResponse;
  readonly cut: NodeJS.Timeout;
  protocol?: string | undefined;
  headers?: Headers;
}

export interface Gate {
  /** The guard. @returns the response the app is to answer with; null where the request was refused already */
  admit(request: IncomingMessage, socket: Socket, head: Buffer): ServerResponse | null;
  /** Whether this request came with an upgrade. */
  has(request: IncomingMessage): boolean;
  /** Ends an admitted request with a WebSocket; `events.closed` comes exactly once whatever happens. */
  accept(request: IncomingMessage, protocol: string | undefined, headers: Headers, events: PeerEvents): void;
  /** Cuts every socket that came this way. */
  cutAll(): void;
}

/** @param upgradeMs how long the app may take to answer: no timeout of Node's own covers an upgrade */
export function createGate(upgradeMs: number, log: Log): Gate {
  const sockets = new Set<Socket>();
  const pending = new WeakMap<IncomingMessage, Pending>();
  const server = createPeerServer((request) => pending.get(request)?.protocol);
  server.on("headers", (lines, request) => {
    for (const [name, value] of pending.get(request)?.headers ?? []) {
      if (!NOT_OF_A_HANDSHAKE.test(name)) lines.push(`${name}: ${value}`);
    }
  });
  function forget(this: Socket): void {
    sockets.delete(this);
  }

  function admit(request: IncomingMessage, socket: Socket, head: Buffer): ServerResponse | null {
    // Node leaves an upgraded socket without listeners: one that its client resets would end the process.
    socket.on("error", ignore);
    socket.on("close", forget);
    sockets.add(socket);
    if (request.method !== "GET" || request.headers.upgrade?.toLowerCase() !== "websocket") {
      refuse(socket);
      return null;
    }
    const outgoing = respondOn(request, socket);
    if (!outgoing) return null;
    const cut = setTimeout(() => socket.destroy(), upgradeMs);
    outgoing.once("close", () => clearTimeout(cut));
    pending.set(request, { socket, head, outgoing, cut });
    return outgoing;
  }

  function accept(request: IncomingMessage, protocol: string | undefined, headers: Headers, events: PeerEvents): void {
    const entry = pending.get(request);
    let opened = false;
    if (entry && !entry.socket.destroyed) {
      const { socket, head, outgoing, cut } = entry;
      clearTimeout(cut);
      outgoing.detachSocket(socket);
      entry.protocol = protocol;
      entry.headers = headers;
      holdHead(socket);
      // Synchronous; ws answers a malformed handshake by itself and does not call back.
      server.handleUpgrade(request, socket, head, (ws) => {
        opened = true;
        openPeer(ws, socket, events, log);
      });
    }
    pending.delete(request);
    if (!opened) abandoned(events, log);
  }

  return {
    admit,
    has: (request) => pending.has(request),
    accept,
    cutAll() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Tells the owner of a socket that never came to be. */
export function abandoned(events: PeerEvents, log: Log): void {
  try {
    events.closed(ABNORMAL);
  } catch (error) {
    log.error({ err: error }, "a socket callback failed");
  }
}

function ignore(): void {}

/** Answers 400. What the client still sends is read and thrown away: unread, it would reset the answer. */
function refuse(socket: Socket): void {
  const head = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n";
  leave(socket);
  socket.end(`${head}Content-Length: ${REFUSAL.length}\r\n\r\n${REFUSAL}`);
}

/** Reads on for a while, for the client to take the answer and close. */
function leave(socket: Socket): void {
  const cut = setTimeout(() => socket.destroy(), LEAVE_MS);
  socket.once("close", () => clearTimeout(cut));
  socket.resume();
}

function respondOn(request: IncomingMessage, socket: Socket): ServerResponse | null {
  const outgoing = new ServerResponse(request);
  outgoing.shouldKeepAlive = false;
  outgoing.on("error", ignore);
  try {
    outgoing.assignSocket(socket);
  } catch {
    // Pipelined behind a request that is not answered yet: no client does that, and the two answers would mix.
    socket.destroy();
    return null;
  }
  outgoing.once("finish", () => {
    outgoing.detachSocket(socket);
    outgoing.emit("close");
    leave(socket);
    socket.end();
  });
  return outgoing;
}
