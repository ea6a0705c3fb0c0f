/** A Socket.IO server with its Postgres adapter, as both their READMEs set it up; a socket joins its user's room. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdapter } from "@socket.io/postgres-adapter";
import pg from "pg";
import { Server } from "socket.io";
import { serve } from "./rpc.ts";

const handlers = {
  /** Who a socket is for is believed: no token is checked. */
  async start({ url }: { url: string }): Promise<string> {
    const pool = new pg.Pool({ connectionString: url });
    await pool.query(`create table if not exists socket_io_attachments (
      id bigserial unique, created_at timestamptz default now(), payload bytea)`);
    const server = createServer();
    const io = new Server(server, { adapter: createAdapter(pool) });
    io.on("connection", (socket) => socket.join(`user:${socket.handshake.auth.user}`));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", 8192, resolve));
    return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
};

export type SocketIoHandlers = typeof handlers;
serve(handlers);
