/**
 * The bare floor: what somebody would write in an afternoon. A row trigger notifies, one LISTEN connection hears it, a
 * raw `ws` server forwards the text. Nothing is stored, authenticated, ordered, bounded or resumed.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import postgres from "postgres";
import { WebSocket, WebSocketServer } from "ws";
import { frameOf } from "./row.ts";
import { serve } from "./rpc.ts";

const users = new Map<string, WebSocket[]>();

const handlers = {
  /** Sockets are opened at /<user>, with `?replay=<n>` for that many frames at once. */
  async start({ url }: { url: string }): Promise<string> {
    const sql = postgres(url, { max: 1, onnotice() {} });
    await sql.listen("floor", (text) => {
      const { to } = JSON.parse(text) as { to: number };
      for (const socket of users.get(String(to)) ?? []) socket.send(text);
    });
    const server = createServer();
    const sockets = new WebSocketServer({ server, perMessageDeflate: false });
    sockets.on("connection", (socket, request) => {
      const [path, query] = request.url!.split("?");
      const user = path!.slice(1);
      const own = users.get(user);
      if (own) own.push(socket);
      else users.set(user, [socket]);
      const replay = Number(new URLSearchParams(query).get("replay") ?? 0);
      for (let n = 1; n <= replay; n++) socket.send(JSON.stringify(frameOf(n)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 8192, resolve));
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
  /** A bare loop over the sockets of a user, of one prepared string. */
  blast({ user, n }: { user: number; n: number }): void {
    const text = JSON.stringify(frameOf(n));
    for (const socket of users.get(String(user)) ?? []) if (socket.readyState === WebSocket.OPEN) socket.send(text);
  },
};

export type FloorHandlers = typeof handlers;
serve(handlers);
