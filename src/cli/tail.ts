/**
 * `tidings tail USER`: the user's stream from a running server, with the SDK's own connection: it comes back after a
 * restart of the server and goes on at its cursor, so that every entry is shown once.
 */
import process from "node:process";
import { WebSocket } from "ws";
import { connection } from "../client/connection.ts";
import type { Model } from "../client/machine.ts";
import { browser } from "../client/platform.ts";
import { sequence } from "../client/sequence.ts";
import { openSse } from "../client/sse.ts";
import { claimsOf } from "../client/token.ts";
import type { AnyFrame } from "../client/transport.ts";
import { openWebSocket } from "../client/websocket.ts";
import { readConfig } from "../config.ts";
import { TidingsError } from "../errors.ts";
import { type Command, type ExitCode, type Input, UsageError } from "./command.ts";
import { frameLine } from "./frame_line.ts";
import { tokenFor } from "./token.ts";

/** Seconds; a new one is signed before it ends. */
const TOKEN_SECONDS = 3_600;

export const command: Command = {
  usage: "USER [--after ID] [--types LIST] [--json] [--url URL]",
  about:
    "Shows a user's stream as it happens, until Ctrl-C; what was missed while the server was away is shown as well.",
  options: {
    after: { value: "ID", help: "begin after this entry; 0: from the first that is kept" },
    types: { value: "LIST", help: "only frames of these types" },
    json: { help: "one JSON object a line, as it came" },
    url: { value: "URL", help: "the server; http://HOST:PORT of the environment" },
    sse: { help: "over server-sent events instead of a WebSocket" },
    token: { value: "TOKEN", help: "this token, where it cannot be signed here (JWKS_URL)" },
  },
  run(input) {
    const [user, ...more] = input.words;
    if (!user || more.length > 0) throw new UsageError("it takes one user id.");
    const after = input.whole("after", 0, Number.MAX_SAFE_INTEGER);
    return follow(user, addressOf(input.text("url")), after, input);
  },
};

function addressOf(url: string | undefined): string {
  const { host, port } = readConfig({ ...process.env, DATABASE_URL: "" });
  const here = host === "0.0.0.0" ? "127.0.0.1" : host.includes(":") ? `[${host === "::" ? "::1" : host}]` : host;
  const address = url ?? `http://${here}:${port}`;
  if (!/^https?:\/\/./.test(address) || !URL.canParse(address)) throw new UsageError("--url is an http(s) address.");
  return address.replace(/\/+$/, "");
}

function follow(user: string, base: string, after: number | undefined, input: Input): Promise<ExitCode> {
  const platform = { ...browser(), WebSocket: WebSocket as unknown as typeof globalThis.WebSocket };
  const place = sequence(false, Date.now);
  if (after !== undefined) place.start(after);
  let token = input.text("token");
  const note = (text: string): void => void process.stderr.write(`tidings: ${text}\n`);

  async function freshToken(): Promise<string> {
    token = input.text("token") ?? (await tokenFor(user, TOKEN_SECONDS));
    return token;
  }
  function show(frame: AnyFrame): void {
    if (frame.type === "ready" && place.cursor() === undefined) {
      place.start((frame as { data: { last_event_id: number } }).data.last_event_id);
    }
    if (frame.type === "reset") place.start((frame as { data: { last_event_id: number } }).data.last_event_id);
    if (place.check(frame) !== "deliver" || frame.type === "cursor" || frame.type === "pong") return;
    process.stdout.write(`${input.is("json") ? JSON.stringify(frame) : frameLine(frame, new Date())}\n`);
  }

  return new Promise((resolve, reject) => {
    const changed = ({ state, failure }: Model): void => {
      if (state === "waiting") note(`no stream from ${base}; trying again`);
      if (state === "failed") reject(new TidingsError("unauthenticated", refusal(base, failure)));
    };
    const dispatch = connection({
      platform,
      transport: input.is("sse") ? "sse" : "websocket",
      prepare: async () => void (await freshToken().catch(reject)),
      renew: freshToken,
      expiresAt: () => claimsOf(token ?? "").expiresAt,
      open(way, sink) {
        const query = new URLSearchParams({ ...(input.text("types") ? { types: input.text("types")! } : {}) });
        const cursor = place.cursor();
        if (way === "sse")
          return openSse(platform, `${base}/sse/notifications/?${query}&heartbeat=1`, token, cursor, sink);
        if (cursor !== undefined) query.set("last_event_id", String(cursor));
        query.set("cursors", "1");
        return openWebSocket(platform.WebSocket, `${base}/ws/notifications/?${query}`, token, sink);
      },
      onFrame: show,
      onChange: changed,
      onDeadLeader() {},
    });
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        dispatch("stop");
        resolve(0);
      });
    }
    dispatch("start");
  });
}

function refusal(base: string, code: number | null): string {
  if (code === 4401) return `${base} refuses the token: is JWT_SECRET (or DATA_DIR) the server's? Or pass --token.`;
  if (code === 4403) return `${base} forbids this stream (4403).`;
  if (code === 4409) return `The user has too many open streams at ${base}: close one.`;
  return `${base} ended the stream for good (${code}).`;
}
