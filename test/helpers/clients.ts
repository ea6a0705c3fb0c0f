/**
 * The clients that stand in for the world: `ws`, undici's WebSocket (as strict as a browser's), the `eventsource`
 * package, curl, and a plain HTTP reader that shows every byte of an event stream. All give the same frame log.
 * Whatever a test leaves open is closed by `closeClients()`.
 */
import { spawn } from "node:child_process";
import { get, type IncomingHttpHeaders } from "node:http";
import { EventSource } from "eventsource";
import { WebSocket as StrictWebSocket } from "undici";
import { WebSocket } from "ws";
import { type Frame, type FrameLog, frameLog, type SseReading, sseReader } from "./streams.ts";

export interface Close {
  readonly code: number;
  readonly reason: string;
}

export interface SocketClient extends FrameLog {
  /** The subprotocol the server selected. */
  readonly protocol: string;
  readonly closed: Promise<Close>;
  /** Sends an object as JSON, a text or bytes as they are. */
  send(message: object | string | Uint8Array): void;
  close(): void;
}

export interface SocketOptions {
  protocols?: string[];
  headers?: Record<string, string>;
  /** `ws` only: answer no protocol pings. */
  deaf?: boolean;
}

const open = new Set<() => void>();

/** Closes every client that is still open. */
export function closeClients(): void {
  for (const close of open) close();
  open.clear();
}

const encoded = (message: object | string | Uint8Array): string | Uint8Array<ArrayBuffer> => {
  if (message instanceof Uint8Array) return new Uint8Array(message);
  return typeof message === "string" ? message : JSON.stringify(message);
};

/** The handshake was answered with a status instead. */
export class HandshakeRefused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the handshake was answered ${status}`);
    this.status = status;
  }
}

type Client = Omit<SocketClient, "protocol">;

/** A `ws` client, once its handshake is through. Rejects with HandshakeRefused. */
export function socket(url: string, { protocols = [], headers = {}, deaf }: SocketOptions = {}): Promise<SocketClient> {
  const log = frameLog();
  const ws = new WebSocket(url, protocols, { headers, ...(deaf ? { autoPong: false } : {}) });
  open.add(() => ws.terminate());
  const closed = new Promise<Close>((resolve) => {
    ws.on("close", (code, reason) => {
      log.end(`closed with ${code} ${reason}`);
      resolve({ code, reason: String(reason) });
    });
  });
  ws.on("message", (data) => log.push(parsed(String(data))));
  const client: Client = { ...log, closed, send: (message) => ws.send(encoded(message)), close: () => ws.close(1000) };
  return new Promise((resolve, reject) => {
    ws.on("unexpected-response", (_request, response) => {
      response.resume();
      reject(new HandshakeRefused(response.statusCode!));
    });
    ws.on("error", reject);
    ws.on("open", () => resolve({ ...client, protocol: ws.protocol }));
  });
}

/** undici's client, once it is open. Rejects where the handshake fails, without saying why, as in a browser. */
export function strictSocket(url: string, { protocols = [], headers = {} }: SocketOptions = {}): Promise<SocketClient> {
  const log = frameLog();
  const ws = new StrictWebSocket(url, { protocols, headers });
  open.add(() => ws.close());
  const closed = new Promise<Close>((resolve) => {
    ws.addEventListener("close", ({ code, reason }) => {
      log.end(`closed with ${code} ${reason}`);
      resolve({ code, reason });
    });
  });
  ws.addEventListener("message", ({ data }) => log.push(parsed(String(data))));
  const client: Client = { ...log, closed, send: (message) => ws.send(encoded(message)), close: () => ws.close(1000) };
  return new Promise((resolve, reject) => {
    ws.addEventListener("open", () => resolve({ ...client, protocol: ws.protocol }));
    ws.addEventListener("error", () => reject(new Error("the WebSocket failed")));
  });
}

export interface SseClient extends FrameLog, SseReading {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body so far. */
  text(): string;
  /** The body has ended, in order (true) or cut off (false). */
  readonly ended: Promise<boolean>;
  close(): void;
}

interface Reading extends FrameLog, SseReading {
  feed(text: string): void;
}

function reading(): Reading {
  const log = frameLog();
  const reader = sseReader(({ data }) => {
    if (data !== undefined) log.push(JSON.parse(data) as Frame);
  });
  return { ...log, ...reader };
}

/** One SSE request over plain HTTP, once its head is there; any status. */
export function sse(url: string, headers: Record<string, string> = {}): Promise<SseClient> {
  const read = reading();
  let text = "";
  return new Promise((resolve, reject) => {
    const request = get(url, { headers, agent: false }, (response) => {
      const isStream = response.headers["content-type"]?.startsWith("text/event-stream");
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (isStream) read.feed(chunk);
      });
      const ended = new Promise<boolean>((done) => {
        response.on("error", () => {});
        response.on("close", () => {
          read.end("ended");
          done(response.complete);
        });
      });
      const { statusCode: status, headers } = response;
      resolve({ ...read, status: status!, headers, ended, text: () => text, close: () => void request.destroy() });
    });
    open.add(() => request.destroy());
    request.on("error", reject);
  });
}

export interface EventSourceClient extends FrameLog {
  /** `lastEventId` of each frame. */
  readonly lastEventIds: string[];
  /** Times it was opened. */
  opens(): number;
  /** Status codes of failures; undefined where a connection was lost. */
  readonly errors: (number | undefined)[];
  readyState(): number;
  close(): void;
}

/** An EventSource of the `eventsource` package, reconnecting by itself. `types`: names to listen for beside `message`. */
export function eventSource(
  url: string,
  headers: Record<string, string> = {},
  types: readonly string[] = [],
): EventSourceClient {
  const log = frameLog();
  const lastEventIds: string[] = [];
  const errors: (number | undefined)[] = [];
  let opens = 0;
  const source = new EventSource(url, {
    fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
  });
  open.add(() => source.close());
  for (const type of ["message", ...types]) {
    source.addEventListener(type, ({ data, lastEventId }: MessageEvent) => {
      lastEventIds.push(lastEventId);
      log.push(JSON.parse(data));
    });
  }
  source.addEventListener("open", () => {
    opens += 1;
  });
  source.addEventListener("error", ({ code }) => void errors.push(code));
  const readyState = (): number => source.readyState;
  return { ...log, lastEventIds, errors, opens: () => opens, readyState, close: () => source.close() };
}

export interface CurlClient extends FrameLog, SseReading {
  readonly exited: Promise<number | null>;
  close(): void;
}

/** `curl -N` on a stream, started with these arguments. */
export function curl(...args: string[]): CurlClient {
  const read = reading();
  const child = spawn("curl", ["-sN", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  open.add(() => child.kill());
  child.stdout.setEncoding("utf8").on("data", (text: string) => read.feed(text));
  const exited = new Promise<number | null>((resolve) => {
    child.on("error", () => resolve(null));
    child.on("close", (code) => {
      read.end(`curl ended with ${code}`);
      resolve(code);
    });
  });
  return { ...read, exited, close: () => void child.kill() };
}

/** The answer to a bare `ping` is bare too. */
function parsed(text: string): Frame {
  return text === "pong" ? ({ type: "pong", bare: true } as Frame) : JSON.parse(text);
}
