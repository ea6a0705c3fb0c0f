/**
 * A small real server for the client's tests: WebSocket, SSE and the inbox on one port, over a sequence that the test
 * appends to. It resumes at a cursor as the contract says; what a test wants broken, it breaks by `rules`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

export interface Rules {
  /** Close code for a socket right after it opened, by its token; undefined lets it in. */
  refuse?: ((token: string) => number | undefined) | undefined;
  /** HTTP status for a socket's handshake: as a proxy that lets none through. */
  blockSockets?: boolean;
  /** HTTP status for all requests under a path. */
  status?: Record<string, number>;
  /** Frames that get lost on the way, by id. */
  lose?: Set<number>;
  heartbeatSeconds?: number;
  deaf?: boolean;
}

export interface Peer {
  kind: "websocket" | "sse";
  cursor: string | null;
  token: string;
  received: unknown[];
  send(frame: object): void;
  close(code?: number): void;
}

export interface StreamServer {
  url: string;
  rules: Rules;
  peers: Peer[];
  /** Every stream that was ever opened. */
  opened: Peer[];
  requests: { method: string; path: string; body: unknown; token: string }[];
  notify(fields?: Record<string, unknown>): number;
  /** Appends an entry of several frames without sending it. */
  store(...frames: Record<string, unknown>[]): number;
  broadcast(frame: object): void;
  inbox: Record<string, unknown>;
  stop(): Promise<void>;
}

const later = <T>(list: T[], item: T): void => {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
};

export async function streamServer(): Promise<StreamServer> {
  const entries: Record<string, unknown>[][] = [];
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "tidings.v1" });

  const ready = (cursor: number, resume: string): object => ({
    type: "ready",
    data: {
      user_id: 7,
      last_event_id: cursor,
      unread_count: 0,
      resume,
      heartbeat_seconds: server.rules.heartbeatSeconds ?? 25,
    },
  });

  function begin(peer: Peer): void {
    server.peers.push(peer);
    server.opened.push(peer);
    const asked = peer.cursor === null ? entries.length : Number(peer.cursor);
    peer.send(ready(asked, peer.cursor === null ? "live" : "complete"));
    for (const entry of entries.slice(asked)) for (const frame of entry) peer.send(frame);
  }

  function onSocket(socket: WebSocket, request: IncomingMessage): void {
    const token = request.headers["sec-websocket-protocol"]?.split(/, ?bearer\./)[1] ?? "";
    const code = server.rules.refuse?.(token);
    if (code) return void socket.close(code);
    const query = new URL(request.url!, server.url).searchParams;
    const peer: Peer = {
      kind: "websocket",
      cursor: query.get("last_event_id"),
      token,
      received: [],
      send: (frame) => socket.send(JSON.stringify(frame)),
      close: (with_ = 1012) => (with_ === 1006 ? socket.terminate() : socket.close(with_)),
    };
    socket.on("message", (data) => {
      const frame = JSON.parse(`${data}`);
      peer.received.push(frame);
      if (frame.type === "ping" && !server.rules.deaf) peer.send({ type: "pong" });
      if (frame.type === "auth") peer.send({ type: "auth", data: { expires_at: "" } });
    });
    socket.on("close", () => later(server.peers, peer));
    begin(peer);
  }

  function onSse(request: IncomingMessage, response: ServerResponse, token: string): void {
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const peer: Peer = {
      kind: "sse",
      cursor: (request.headers["last-event-id"] as string) ?? null,
      token,
      received: [],
      send: (frame) => {
        const { id, more } = frame as { id?: number; more?: true };
        response.write(`${id && !more ? `id: ${id}\n` : ""}data: ${JSON.stringify(frame)}\n\n`);
      },
      close: () => response.end(),
    };
    response.write(`retry: 50\nid: ${peer.cursor ?? entries.length}\n\n`);
    response.on("close", () => later(server.peers, peer));
    begin(peer);
  }

  async function onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    const path = request.url!;
    let text = "";
    for await (const part of request) text += part;
    server.requests.push({ method: request.method!, path, body: text ? JSON.parse(text) : undefined, token });
    const refused = server.rules.refuse?.(token) === 4401 ? 401 : undefined;
    const status = Object.entries(server.rules.status ?? {}).find(([start]) => path.startsWith(start))?.[1] ?? refused;
    if (status) return void response.writeHead(status).end(JSON.stringify({ detail: `no: ${status}` }));
    if (path.startsWith("/sse/")) return onSse(request, response, token);
    const body =
      path === "/api/inbox" ? { ...server.inbox, last_event_id: entries.length } : (server.inbox[path] ?? {});
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  http.on("request", (request, response) => void onRequest(request, response));
  http.on("upgrade", (request, socket, head) => {
    if (server.rules.blockSockets) return void socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    sockets.handleUpgrade(request, socket, head, (ws) => onSocket(ws, request));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));

  const server: StreamServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    rules: {},
    peers: [],
    opened: [],
    requests: [],
    inbox: { notifications: [], unread_count: 0, by_type: {} },
    store: (...frames) => {
      const id = entries.length + 1;
      entries.push(frames.map((frame, at) => ({ ...frame, id, ...(at < frames.length - 1 && { more: true }) })));
      return id;
    },
    notify: (fields = {}) => {
      const id = entries.length + 1;
      server.store({ type: "notification", data: notification(id, fields) });
      if (!server.rules.lose?.has(id)) for (const frame of entries.at(-1)!) server.broadcast(frame);
      return id;
    },
    broadcast: (frame) => {
      for (const peer of server.peers) peer.send(frame);
    },
    stop: async () => {
      for (const client of sockets.clients) client.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  return server;
}

/** A canonical notification. */
export function notification(id: number, fields: Record<string, unknown> = {}): Record<string, unknown> {
  const at = "2026-01-02T03:04:05.000006Z";
  return {
    id,
    notification_id: id,
    title: `Title ${id}`,
    message: `Message ${id}`,
    notification_type: "note",
    is_read: false,
    created_at: at,
    timestamp: at,
    data: {},
    ...fields,
  };
}

/** An unsigned token that says who and until when (seconds since 1970). */
export function jwt(user: string | number, exp: number, nonce = ""): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ user_id: user, exp, nonce })}.x`;
}
