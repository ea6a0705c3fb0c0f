/** The domain's routes on a database of their own, asked as a user of one's choice. */
import { Hono } from "hono";
import * as assert from "uvu/assert";
import { domainRoutes } from "../../src/domain/routes.ts";
import type { Env } from "../../src/http/env.ts";
import { renderError } from "../../src/http/problem.ts";
import { database, type TestDatabase } from "../helpers/database.ts";

// biome-ignore lint/suspicious/noExplicitAny: answers are looked into field by field
export type Json = any;

export interface Api {
  db: TestDatabase;
  /** Asks as this user and expects this status; returns the body. */
  as(user: number | string, method: string, path: string, body: unknown, status: number): Promise<Json>;
  get(user: number | string, path: string, status?: number): Promise<Json>;
  post(user: number | string, path: string, body: unknown, status?: number): Promise<Json>;
  /** Empties everything and makes ann, ben, cleo and dan, 1 to 4. */
  reset(): Promise<void>;
  /** Who was sent an entry of this type since the last call of `reset`, in order. */
  told(type: string): Promise<string[]>;
}

export async function startApi(): Promise<Api> {
  const db = await database();
  const app = new Hono<Env>({ strict: false });
  const errors: unknown[] = [];
  const log = { error: (fields: unknown) => errors.push(fields), warn() {}, info() {}, debug() {} };
  app.onError(renderError(log as never));
  app.use(async (c, next) => {
    const userId = c.req.header("x-user")!;
    c.set("identity", { userId, claim: userId, expiresAt: 2 ** 40, issuedAt: 0, scopes: [] });
    await next();
  });
  app.route("/api", domainRoutes({ sql: db.sql }));

  const as: Api["as"] = async (user, method, path, body, status) => {
    const answer = await app.request(`/api${path}`, {
      method,
      headers: { "x-user": String(user), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.is(answer.status, status, `${method} ${path} as ${user}: ${answer.status} ${text} ${errors.map(String)}`);
    return text === "" ? null : JSON.parse(text);
  };
  return {
    db,
    as,
    get: (user, path, status = 200) => as(user, "GET", path, undefined, status),
    post: (user, path, body, status = 201) => as(user, "POST", path, body, status),
    async reset() {
      await db.sql`truncate app."user", tidings.inbox, tidings.notification, tidings.presence restart identity cascade`;
      await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo'), ('dan')`;
    },
    async told(type) {
      const rows =
        await db.sql`select user_id from tidings.notification where type = ${type} order by created_at, user_id`;
      return rows.map((row) => row.user_id);
    },
  };
}
