/**
 * The Hono app on Node: HTTP by @hono/node-server, WebSockets by ws beneath the app's own routes.
 * A route asks for a WebSocket or an SSE stream and returns; it is made when the app and all its middleware are done,
 * so that the headers they set reach it, and an error they answer with does instead.
 */
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { describe, TidingsError } from "../errors.ts";
import type { Log } from "../transport/peer.ts";
import type { Runtime } from "../transport/runtime.ts";
import { type App, answer, createRuntime, type Env } from "./node_runtime.ts";
import { createGate, type Gate } from "./node_upgrade.ts";

/** Longer than a proxy keeps an idle connection (60 s is common), so that it never sends on one being closed. */
const KEEP_ALIVE_MS = 65_000;
/**
 * Connections that may wait to be accepted; the kernel may allow fewer. Node's 511 overflows when thousands of clients
 * reconnect after a restart, and those over it are reset or wait a second for their next try.
 */
const BACKLOG = 8192;
/** How often idle connections are looked for while closing, in ms: one becomes idle when its response ends. */
const IDLE_POLL_MS = 50;

export interface Server {
  readonly port: number;
  readonly runtime: Runtime;
  /**
   * Stops accepting and resolves when every connection is gone: at the latest after `graceMs`, when those left are cut.
   * Telling the streams to close is the caller's part, before or during it. Idempotent; the first grace counts.
   */
  close(graceMs: number): Promise<void>;
}

export interface NodeOptions {
  /** Builds the app; a Hono is one. */
  readonly app: (runtime: Runtime) => App;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** How long the app may take to answer an upgrade before its socket is cut, in ms; 10,000. */
  readonly upgradeMs?: number;
  readonly log: Log;
}

/**
 * Starts a server.
 * @throws TidingsError `configuration` where it cannot listen
 */
export async function serveNode(options: NodeOptions): Promise<Server> {
  const { host, port, upgradeMs = 10_000, log } = options;
  const gate = createGate(upgradeMs, log);
  const runtime = createRuntime(gate, log, true);
  const app = options.app(runtime);
  const listener = getRequestListener((request, env) => answer(app, request, env as Env));
  const server = createServer({ noDelay: true, keepAliveTimeout: KEEP_ALIVE_MS }, (incoming, outgoing) => {
    void listener(incoming, outgoing);
  });
  server.on("upgrade", (incoming, socket, head) => {
    const outgoing = gate.admit(incoming, socket as Socket, head);
    if (outgoing) void listener(incoming, outgoing);
  });
  await listen(server, host, port);
  server.on("error", (error) => log.error({ err: error }, "the HTTP server reported an error"));
  return { port: (server.address() as AddressInfo).port, runtime, ...createClosing(server, gate) };
}

function listen(server: HttpServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      const text = `Cannot listen on ${host}:${port} (${describe(cause)}): set HOST and PORT to a free address.`;
      reject(new TidingsError("configuration", text, { cause }));
    };
    server.once("error", failed);
    server.listen(port, host, BACKLOG, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function createClosing(server: HttpServer, gate: Gate): Pick<Server, "close"> {
  let closed: Promise<void> | undefined;

  async function close(graceMs: number): Promise<void> {
    const idle = setInterval(() => server.closeIdleConnections(), IDLE_POLL_MS);
    const deadline = setTimeout(() => {
      gate.cutAll();
      server.closeAllConnections();
    }, graceMs);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    clearInterval(idle);
    clearTimeout(deadline);
    // A server reports its end before its last sockets report theirs: those come at the end of this turn of the loop.
    for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  return {
    close(graceMs) {
      closed ??= close(graceMs);
      return closed;
    },
  };
}
