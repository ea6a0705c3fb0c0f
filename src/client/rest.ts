/**
 * Requests to the REST side: token or cookie, JSON, one new token after a 401, problems as errors.
 * `statusToCode` lets the stream's close-code table decide about HTTP answers too.
 */
import type { Platform } from "./platform.ts";
import type { Tokens } from "./token.ts";

/** A refused or failed request. `status` is the HTTP status, 0 when no answer came; the message is the problem's text. */
export class RequestError extends Error {
  readonly status: number;
  override readonly name = "RequestError";

  constructor(status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}

/** The close code that says the same as an HTTP status; 0 is an accident on the way. */
export function statusToCode(status: number): number {
  return CODES[status] ?? (status === 429 || status > 499 ? 1013 : 0);
}

const CODES: Readonly<Record<number, number>> = { 204: 1000, 400: 4400, 401: 4401, 403: 4403 };

export type Send = (method: string, path: string, body?: object) => Promise<unknown>;

export interface RestOptions {
  base: string;
  platform: Platform;
  tokens: Tokens;
  /** Ends the requests that are under way. */
  signal: AbortSignal;
}

/** Headers and cookie mode of every request, streams too: the token when there is one, else the cookie. */
export function credentials(token: string | undefined): {
  headers: Record<string, string>;
  credentials: RequestCredentials;
} {
  return token
    ? { headers: { authorization: `Bearer ${token}` }, credentials: "same-origin" }
    : { headers: {}, credentials: "include" };
}

/** Sends JSON and gives the JSON of the answer; undefined for 204. Throws RequestError. */
export function rest({ base, platform, tokens, signal }: RestOptions): Send {
  async function attempt(method: string, path: string, body: object | undefined, fresh: boolean): Promise<Response> {
    const token = await tokens.get(fresh);
    const auth = credentials(token);
    auth.headers["content-type"] = "application/json";
    const init: RequestInit = { ...auth, method, signal, cache: "no-store", body: body ? JSON.stringify(body) : null };
    return platform.fetch(base + path, init).catch((cause) => {
      throw new RequestError(0, `${method} ${path}: no answer.`, { cause });
    });
  }

  return async (method, path, body) => {
    let answer = await attempt(method, path, body, false);
    if (answer.status === 401 && tokens.used) answer = await attempt(method, path, body, true);
    const json = await answer.json().catch(() => undefined);
    if (answer.ok) return json;
    throw new RequestError(answer.status, json?.detail ?? `${method} ${path}: ${answer.status}.`);
  };
}
