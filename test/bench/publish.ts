/**
 * How an application makes a row known after it has written it. With a trigger there is nothing to do. Socket.IO is
 * one more node of its cluster, which has no sockets: its adapter sends a NOTIFY from a pool of ten connections, and an
 * emit cannot be awaited. nchan is posted to over eight kept connections. Used by the writers' process.
 */
import { frameOf } from "./row.ts";

export type Publish =
  | { readonly via: "trigger" }
  | { readonly via: "socketio" }
  | { readonly via: "nchan"; readonly url: string };

export interface Publisher {
  /** Row `n` to a user's sockets. */
  one(user: number, n: number): Promise<void>;
  /** Row `n` to the sockets of many users. */
  many(users: readonly number[], n: number): Promise<void>;
}

/** @param database where the rows are written */
export async function publisher(publish: Publish, database: string): Promise<Publisher> {
  if (publish.via === "socketio") return socketIo(database);
  if (publish.via === "nchan") return nchan(publish.url);
  return { one: async () => {}, many: async () => {} };
}

async function socketIo(database: string): Promise<Publisher> {
  const [{ default: pg }, { Server }, { createAdapter }] = await Promise.all([
    import("pg"),
    import("socket.io"),
    import("@socket.io/postgres-adapter"),
  ]);
  const io = new Server({ adapter: createAdapter(new pg.Pool({ connectionString: database })) });
  const to = (users: readonly number[], n: number): void => {
    io.to(users.map((user) => `user:${user}`)).emit("notification", frameOf(n));
  };
  return { one: async (user, n) => to([user], n), many: async (users, n) => to(users, n) };
}

/** Most channels of one post, a limit of nchan's. */
const CHANNELS = 255;

async function nchan(url: string): Promise<Publisher> {
  const { Pool } = await import("undici");
  const pool = new Pool(url, { connections: 8 });
  const post = async (channels: string, n: number): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(frameOf(n));
    const answer = await pool.request({ path: `/pub/${channels}`, method: "POST", headers, body });
    await answer.body.dump();
    if (answer.statusCode >= 300) throw new Error(`nchan answered ${answer.statusCode} to a post`);
  };
  return {
    one: (user, n) => post(String(user), n),
    async many(users, n) {
      const posts: Promise<void>[] = [];
      for (let at = 0; at < users.length; at += CHANNELS) posts.push(post(users.slice(at, at + CHANNELS).join(","), n));
      await Promise.all(posts);
    },
  };
}
