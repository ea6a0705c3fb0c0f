/**
 * What Node does for the routes: a route asks for a WebSocket or an SSE stream and returns; it is made when the app and
 * all its middleware are done, so that the headers they set reach it, and an error they answer with does instead.
 */
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Context } from "hono";
import type { Log, PeerEvents, Sink } from "../transport/peer.ts";
import type { Runtime } from "../transport/runtime.ts";
import { openSink } from "./node_sink.ts";
import { holdHead } from "./node_socket.ts";
import { abandoned, type Gate } from "./node_upgrade.ts";

const SSE_HEADERS = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };

export interface App {
  fetch(request: Request, env: object): Response | Promise<Response>;
}

/** What is made of a request once the app has answered it with 200; otherwise it is abandoned. */
export interface Takeover {
  accept(headers: Headers): void;
  abandon(): void;
}

export type Env = HttpBindings & { takeover?: Takeover };

/** Carries out what the route asked for, now that the answer is known. */
export function finish(response: Response, env: Env): Response {
  if (!env.takeover) return response;
  if (response.status !== 200) {
    env.takeover.abandon();
    return response;
  }
  env.takeover.accept(response.headers);
  // A new one each time: the library's is one object for all requests, and middleware may write to it.
  return new Response(null, RESPONSE_ALREADY_SENT);
}

/** Lets the app answer, then carries out what its route asked for. */
export function answer(app: App, request: Request, env: Env): Response | Promise<Response> {
  const failed = (error: unknown): never => {
    env.takeover?.abandon();
    throw error;
  };
  try {
    const response = app.fetch(request, env);
    return response instanceof Promise ? response.then((done) => finish(done, env), failed) : finish(response, env);
  } catch (error) {
    return failed(error);
  }
}

/** @param isOurs the server is ours, and nobody else looks at its requests */
export function createRuntime(gate: Gate, log: Log, isOurs = false): Runtime {
  return {
    async upgrade(c: Context, protocol: string | undefined, events: PeerEvents): Promise<Response> {
      const env = c.env as Env;
      if (!gate.has(env.incoming)) {
        abandoned(events, log);
        return c.text("Connect with a WebSocket.", 426, { upgrade: "websocket", connection: "upgrade" });
      }
      env.takeover = {
        accept: (headers) => gate.accept(env.incoming, protocol, headers, events),
        abandon: () => abandoned(events, log),
      };
      return c.body(null);
    },
    sse(c: Context, headers, open, onClosed): Response {
      const env = c.env as Env;
      if (gate.has(env.incoming)) {
        onClosed();
        return c.text("This stream is no WebSocket: send the request without an Upgrade header.", 400);
      }
      env.takeover = {
        accept: (all) => startSse(env, all, open, onClosed, log, isOurs),
        abandon: onClosed,
      };
      return c.body(null, 200, { ...SSE_HEADERS, ...headers });
    },
    address(c: Context): string {
      return (c.env as Env).incoming.socket.remoteAddress?.replace(/^::ffff:(?=[\d.]+$)/, "") ?? "";
    },
  };
}

function startSse(
  env: Env,
  headers: Headers,
  open: (sink: Sink) => void,
  onClosed: () => void,
  log: Log,
  isOurs: boolean,
): void {
  const { incoming, outgoing } = env;
  if (!outgoing.socket || outgoing.destroyed) {
    // Gone already; or pipelined behind another response: such a stream would never learn that its client left.
    incoming.socket.destroy();
    onClosed();
    return;
  }
  // All at once: headers set one by one are kept with the response.
  outgoing.writeHead(200, fieldsOf(headers));
  if (incoming.method === "HEAD") {
    outgoing.end();
    onClosed();
    return;
  }
  holdHead(outgoing.socket);
  outgoing.flushHeaders();
  if (isOurs) letGo(env);
  openSink(outgoing, open, onClosed, log);
}

function fieldsOf(headers: Headers): Record<string, string | string[]> {
  const cookies = headers.getSetCookie();
  const fields = Object.fromEntries<string | string[]>(headers);
  return cookies.length > 0 ? { ...fields, "set-cookie": cookies } : fields;
}

/**
 * What a request brought, a token among it, and what the app's listeners made of it, would stay for as long as its
 * stream is open: a third of what an idle stream costs. The response stays bound to the bare request.
 */
function letGo({ incoming, outgoing }: Env): void {
  outgoing.removeAllListeners("close");
  incoming.rawHeaders = [];
  // where it is more than a getter
  Reflect.set(incoming, "headers", {});
  incoming.url = "";
}
