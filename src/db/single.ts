/**
 * One connection that lives once: the client ends when its connection does, never opens another, and can be cut.
 * postgres.js keeps its sockets to itself, so this hands it one of ours: a half-open socket must be destroyed, a polite
 * goodbye would wait for an answer that never comes.
 */
import net from "node:net";
import postgres from "postgres";
import { TidingsError } from "../errors.ts";
import { connectionOptions, type Sql } from "./client.ts";

export interface SingleOptions {
  name: string;
  /** Further startup parameters, such as `replication`. */
  parameters?: Record<string, string>;
  /** Called for each notification on any channel that was asked for. */
  onNotify(channel: string, payload: string): void;
  /** Called once when the connection is gone, whoever closed it. */
  onClose(): void;
}

export interface Single {
  readonly sql: Sql;
  /** Destroys the socket; running queries reject. Nothing of the connection is left afterwards. Safe to call twice. */
  cut(): Promise<void>;
  /** Says goodbye to the server, waits for it at most `ms`, then cuts. */
  leave(ms: number): Promise<void>;
}

/** What postgres.js hands its socket factory: its parsed options. */
interface Target {
  host: string[];
  port: number[];
  path?: string | false;
}

/** Options that postgres.js reads and its types leave out or describe otherwise (src/index.js, src/connection.js). */
interface Untyped {
  onnotify(channel: string, payload: string): void;
  onclose(): void;
  socket(target: Target): Promise<net.Socket>;
}

const CONNECT_MS = 10_000;

function dial(socket: net.Socket, host: string, port: number, path: string | false | undefined): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`no answer from ${host}:${port} in 10 s`)), CONNECT_MS);
    socket.once("error", reject);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(new Error(`the connection to ${host}:${port} was closed`));
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error").removeAllListeners("close");
      resolve(socket);
    });
    if (path) socket.connect(path);
    else socket.connect(port, host);
  });
}

/** Prepares the connection; it is opened by the first query on `sql`. */
export function openSingle(url: string, options: SingleOptions): Single {
  let socket: net.Socket | undefined;
  let isCut = false;
  const connectOnce = async (target: Target): Promise<net.Socket> => {
    // postgres.js dials again by itself, at once and without end, when it is hung up on before the server was ready.
    if (socket || isCut) throw new TidingsError("unavailable", "Postgres closed the connection before it was ready.");
    let failure: unknown;
    for (const [index, host] of target.host.entries()) {
      // postgres.js takes the name for the certificate from here.
      socket = Object.assign(new net.Socket(), { host });
      try {
        return await dial(socket, host, target.port[index] ?? target.port[0]!, target.path);
      } catch (error) {
        failure = error;
        if (isCut) break;
      }
    }
    throw failure;
  };
  const untyped: Untyped = { onnotify: options.onNotify, onclose: options.onClose, socket: connectOnce };
  const common = connectionOptions(options.name);
  const connection = { ...common.connection, ...options.parameters };
  const sql = postgres(url, { ...common, ...(untyped as object), connection, max: 1 });
  const cut = async (): Promise<void> => {
    isCut = true;
    socket?.destroy();
    await sql.end({ timeout: 0 }).catch(() => {});
  };
  return {
    sql,
    cut,
    async leave(ms) {
      await sql.end({ timeout: ms / 1_000 }).catch(() => {});
      await cut();
    },
  };
}
