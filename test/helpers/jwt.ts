/** Tokens made by hand, and how one is refused: for the tests of auth. */
import { base64url } from "jose";
import type { Identity, Verify } from "../../src/auth/token.ts";
import { type ErrorCode, TidingsError } from "../../src/errors.ts";

/** A minute from now, in epoch seconds. */
export const soon = (): number => Math.floor(Date.now() / 1000) + 60;

/** A token whose parts are exactly these, signed with HMAC-SHA256 by `key`, or with nothing. */
export async function rawToken(header: string, payload: string, key?: Uint8Array | string): Promise<string> {
  const input = `${base64url.encode(header)}.${base64url.encode(payload)}`;
  if (key === undefined) return `${input}.`;
  const bytes = typeof key === "string" ? new TextEncoder().encode(key) : new Uint8Array(key);
  const hmac = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(input));
  return `${input}.${base64url.encode(new Uint8Array(signature))}`;
}

/** The error that `verify` refuses a token with; fails when it is accepted, or refused with anything but `code`. */
export async function refusalOf(
  verify: Verify,
  token: string,
  code: ErrorCode = "unauthenticated",
): Promise<TidingsError> {
  let identity: Identity;
  try {
    identity = await verify(token);
  } catch (error) {
    if (error instanceof TidingsError && error.code === code) return error;
    throw new Error(`refused, but not as ${code}: ${error}`, { cause: error });
  }
  throw new Error(`accepted as ${JSON.stringify(identity)}`);
}
