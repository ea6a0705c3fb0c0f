/**
 * Where a request carries its token (CONTRACT sections 4, 5 and 8), and which WebSocket subprotocol answers it.
 * Pure functions over headers and address: they find, they do not verify, and they never throw.
 * Empty places (`Authorization: Bearer` alone, `?token=`) hold no token. Web standards only.
 */
import { TidingsError } from "../errors.ts";
import type { Identity } from "./token.ts";

export type Place = "subprotocol" | "authorization" | "cookie" | "ticket" | "query";

export interface Found {
  readonly token: string;
  readonly place: Place;
}

export interface Offer {
  /** In the order in which they must be tried. */
  readonly candidates: readonly Found[];
  /** The subprotocol to select, `undefined` when none was offered. Select it for a bad token too, or a browser never sees 4401. */
  readonly protocol: string | undefined;
}

/** What is read of `Headers`. */
export interface HeaderReader {
  get(name: string): string | null;
}

/** A WebSocket: subprotocol, Authorization, cookie `access`, `?ticket=`, `?token=`. */
export function socketOffer(headers: HeaderReader, url: URL): Offer {
  const { tokens, protocol } = readSubprotocols(headers.get("sec-websocket-protocol") ?? "");
  const offered = tokens.map((token): Found => ({ token, place: "subprotocol" }));
  return { candidates: [...offered, ...streamOffer(headers, url)], protocol };
}

/** SSE: Authorization, cookie `access`, `?ticket=`, `?token=`. */
export function streamOffer(headers: HeaderReader, url: URL): readonly Found[] {
  return [
    ...restOffer(headers),
    ...found("ticket", url.searchParams.get("ticket")),
    ...found("query", url.searchParams.get("token")),
  ];
}

/** REST: Authorization, else cookie `access`. */
export function restOffer(headers: HeaderReader): readonly Found[] {
  return [
    ...found("authorization", bearerOf(headers.get("authorization") ?? "")),
    ...found("cookie", cookieOf(headers.get("cookie") ?? "", "access")),
  ];
}

/**
 * Tries the candidates in order. The first one decides, but for a cookie, which the browser attaches unasked: a bad
 * one falls through to what follows. Rejects with what `check` rejects with, `unauthenticated` when there is none.
 */
export async function authenticate(
  candidates: readonly Found[],
  check: (found: Found) => Promise<Identity>,
): Promise<{ identity: Identity; place: Place }> {
  let refusal: TidingsError | undefined;
  for (const each of candidates) {
    try {
      return { identity: await check(each), place: each.place };
    } catch (error) {
      const isRefusal = error instanceof TidingsError && error.code === "unauthenticated";
      if (!isRefusal || each.place !== "cookie") throw error;
      refusal = error;
    }
  }
  throw refusal ?? new TidingsError("unauthenticated", "No token: send one, for example as `Authorization: Bearer …`.");
}

function found(place: Place, token: string | null | undefined): readonly Found[] {
  return token ? [{ token, place }] : [];
}

function bearerOf(authorization: string): string | undefined {
  return /^bearer +(.+)$/i.exec(authorization.trim())?.[1];
}

function cookieOf(header: string, name: string): string | undefined {
  for (const pair of header.split(";")) {
    const at = pair.indexOf("=");
    if (at === -1 || pair.slice(0, at).trim() !== name) continue;
    const value = pair.slice(at + 1).trim();
    return decoded(/^"(.*)"$/.exec(value)?.[1] ?? value);
  }
  return undefined;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** The forms: a JWT among others; `bearer.<jwt>` beside others; the pair `bearer`, `<jwt>`. */
function readSubprotocols(header: string): { tokens: readonly string[]; protocol: string | undefined } {
  const items = header.split(",").flatMap((item) => item.trim() || []);
  const isBearer = (item: string | undefined): boolean => item?.toLowerCase() === "bearer";
  const tokens: string[] = [];
  const others: string[] = [];
  for (const [at, item] of items.entries()) {
    const prefixed = /^bearer\.(.+)$/i.exec(item)?.[1];
    const isToken = prefixed !== undefined || isBearer(items[at - 1]) || isJwt(item);
    if (isToken) tokens.push(prefixed ?? item);
    else others.push(item);
  }
  // What stands where a token should decides only when no real one was offered.
  const parsed = tokens.filter(isJwt);
  return { tokens: parsed.length > 0 ? parsed : tokens, protocol: others[0] ?? items[0] };
}

/** Whether a text is a JWT by its looks: three base64url parts (the last may be empty, `alg: none`), a header with an `alg`. */
function isJwt(text: string): boolean {
  const header = /^([\w-]+)\.[\w-]+\.[\w-]*$/.exec(text)?.[1];
  if (header === undefined) return false;
  try {
    const parsed: unknown = JSON.parse(atob(header.replaceAll("-", "+").replaceAll("_", "/")));
    return typeof parsed === "object" && parsed !== null && "alg" in parsed && typeof parsed.alg === "string";
  } catch {
    return false;
  }
}
