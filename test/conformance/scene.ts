/**
 * The server as the suite sees it: a process on some runtime, over a database of its own. `impatient` is another one
 * whose clocks run fast, for what takes a minute with those of production.
 */
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { SECRET, token } from "../helpers/instance.ts";
import { type RawClient, rawClient } from "../helpers/raw.ts";

export const WS = "/ws/notifications/";
export const SSE = "/sse/notifications/";
const IMPATIENT = fileURLToPath(new URL("impatient_server.ts", import.meta.url));

export interface Scene {
  readonly http: string;
  readonly ws: string;
  readonly server: Cli;
  readonly sql: TestDatabase["sql"];
  open(): Promise<void>;
  close(): Promise<void>;
  /** Starts the server anew, after it was ended. */
  start(): Promise<void>;
  /** Starts the server with the fast clocks. @returns its address */
  impatient(): Promise<string>;
  store(user: number, message: string): Promise<void>;
  /** Somebody else is still served. */
  serves(): Promise<void>;
  /** A connection to the server, by hand. */
  raw(text: string): Promise<RawClient>;
  /** The sum of a metric over its labels. */
  metric(name: string, http?: string): Promise<number>;
  /** No stream is open any more: every one that was left was noticed. */
  quiet(): Promise<void>;
}

/** @param runtime the program, with its options, that runs a TypeScript source */
export function createScene(runtime: readonly string[]): Scene {
  let db: TestDatabase;
  let server: Cli;
  let http: string;

  const env = (): Record<string, string> => ({ DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off" });

  const scene: Scene = {
    get http() {
      return http;
    },
    get ws() {
      return http.replace("http", "ws");
    },
    get server() {
      return server;
    },
    get sql() {
      return db.sql;
    },
    async open() {
      db = await database({ domain: false });
      await scene.start();
    },
    async close() {
      await endAll();
      await db?.drop();
    },
    async start() {
      server = tidings(["serve"], { ...env(), DRAIN_SECONDS: "2" }, runtime);
      http = await server.url;
    },
    impatient: () => tidings([], env(), runtime, IMPATIENT).url,
    async store(user, message) {
      await db.sql`select tidings.send_notification(${String(user)}::text, 'Title', ${message}, 'note')`;
    },
    async serves() {
      const client = await strictSocket(`${scene.ws}${WS}?token=${await token(99)}`);
      await client.find("ready");
      client.close();
    },
    raw: (text) => rawClient(Number(new URL(http).port), text),
    async metric(name, at = http) {
      const headers = { authorization: `Bearer ${await token(99, { scope: "metrics" })}` };
      const text = await (await fetch(`${at}/metrics`, { headers })).text();
      assert.ok(text.includes(`# TYPE ${name} `), `there is no ${name}`);
      const found = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))];
      return found.reduce((sum, [, value]) => sum + Number(value), 0);
    },
    quiet: () => eventually(async () => assert.is(await scene.metric("tidings_streams"), 0)),
  };
  return scene;
}
