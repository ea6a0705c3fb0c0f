/**
 * A small app on the Node runtime, without a database. Imported: `nodeApp(hooks)` serves it in this process.
 * Run as a process (for what might end one: it has no process-level handlers) it prints its port as the first line.
 */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Context, Hono } from "hono";
import { type Server, serveNode } from "../../src/runtime/node.ts";
import type { Peer, PeerEvents, Sink } from "../../src/transport/peer.ts";

/** What was asked of the runtime and has ended; on a quiet server both are equal. */
export interface Counts {
  asked: number;
  closed: number;
}

export interface Hooks {
  onPeer?(peer: Peer): void;
  onSink?(sink: Sink): void;
  onClosed?(code: number): void;
  upgradeMs?: number;
}

export interface NodeApp {
  server: Server;
  counts: Counts;
  logged: object[];
}

const THROWS: Record<string, () => void | Promise<void>> = {
  throw() {
    throw new Error("thrown by a callback");
  },
  reject: () => Promise.reject(new Error("rejected by a callback")),
};

/** `message` echoes; the texts `throw` and `reject` do that; `?open=` does it on opening, `?close=4401` closes there. */
function echo(c: Context, counts: Counts, hooks: Hooks): PeerEvents {
  const { open = "", close } = c.req.query();
  let peer: Peer;
  counts.asked += 1;
  return {
    open(accepted) {
      peer = accepted;
      hooks.onPeer?.(peer);
      if (close) peer.close(Number(close), "closed by the app");
      return THROWS[open]?.();
    },
    message(text) {
      if (text && THROWS[text]) return THROWS[text]?.();
      peer.send(text ?? "binary");
    },
    closed(code) {
      counts.closed += 1;
      hooks.onClosed?.(code);
    },
  };
}

export async function nodeApp(hooks: Hooks = {}): Promise<NodeApp> {
  const counts: Counts = { asked: 0, closed: 0 };
  const logged: object[] = [];
  const log = { error: (fields: object) => void logged.push(fields), warn() {} };
  const server = await serveNode({
    host: "127.0.0.1",
    port: 0,
    log,
    ...(hooks.upgradeMs ? { upgradeMs: hooks.upgradeMs } : {}),
    app(runtime) {
      const app = new Hono();
      app.use(async (c, next) => {
        c.header("x-before", "1");
        await next();
        c.res.headers.set("x-after", "2");
        if (c.req.query("fail")) throw new Error("thrown after the route");
      });
      app.get("/ws", async (c) => {
        await sleep(Number(c.req.query("delay") ?? 0));
        return runtime.upgrade(c, c.req.query("protocol"), echo(c, counts, hooks));
      });
      app.get("/sse", async (c) => {
        await sleep(Number(c.req.query("delay") ?? 0));
        counts.asked += 1;
        const opened = (sink: Sink): void => {
          hooks.onSink?.(sink);
          if (!hooks.onSink) sink.write("data: hello\n\n");
          if (c.req.query("open")) throw new Error("thrown by open");
        };
        return runtime.sse(c, { "x-own": "3" }, opened, () => {
          counts.closed += 1;
          hooks.onClosed?.(0);
        });
      });
      app.get("/refused", (c) => c.json({ title: "no" }, 403, { "x-reason": "origin" }));
      app.get("/hang", () => new Promise<Response>(() => {}));
      app.get("/address", (c) => c.text(runtime.address(c)));
      app.get("/counts", (c) => c.json(counts));
      app.onError((error, c) => c.text(error.message, 500));
      return app;
    },
  });
  return { server, counts, logged };
}

if (process.argv[1] === import.meta.filename) {
  const { server } = await nodeApp();
  process.stdout.write(`${server.port}\n`);
  process.stdin.resume().on("end", () => process.exit(0));
}
