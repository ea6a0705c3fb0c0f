/**
 * The user's token: fetched when needed, kept while it is good, never written anywhere.
 * One fetch at a time, whoever asks. Refuses nothing itself: a token that is no JWT is passed on as it is.
 */
import { RequestError } from "./rest.ts";

/** Gives the token; null or "" means signed out. Called again when the server refuses the last one. */
export type GetToken = () => string | null | undefined | Promise<string | null | undefined>;

export interface Claims {
  /** Milliseconds since 1970; undefined when the token does not say. */
  expiresAt?: number | undefined;
  /** The user id as the server reads it: `user_id`, else `sub`. */
  user?: string | undefined;
}

/** What a JWT says about itself, unverified: for timers and keys, never for trust. */
export function claimsOf(token: string): Claims {
  try {
    // A name in another script comes out as bytes: it is a key here and never shown.
    const body = atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
    const { exp, user_id, sub } = JSON.parse(body);
    const user = user_id ?? sub;
    return { expiresAt: exp * 1000 || undefined, user: user?.toString() };
  } catch {
    return {};
  }
}

export interface Tokens {
  /**
   * The token, a new one when `fresh` or when the kept one ends within 30 s; undefined where a cookie does it.
   * Rejects with RequestError 401 when signed out.
   */
  get(fresh?: boolean): Promise<string | undefined>;
  /** The one got last. */
  kept(): string | undefined;
  /** When the kept token ends, in milliseconds since 1970. */
  expiresAt(): number | undefined;
  /** False with a cookie: then there is no token to send. */
  used: boolean;
}

const MARGIN_MS = 30_000;

export function tokens(getToken: GetToken | undefined, now: () => number): Tokens {
  let kept: string | undefined;
  let expiresAt: number | undefined;
  let asked: Promise<string | undefined> | undefined;

  async function ask(): Promise<string | undefined> {
    try {
      kept = (await getToken?.()) || undefined;
      expiresAt = claimsOf(kept ?? "").expiresAt;
      if (getToken && !kept) throw new RequestError(401, "Signed out: no token.");
      return kept;
    } finally {
      asked = undefined;
    }
  }

  return {
    used: !!getToken,
    kept: () => kept,
    expiresAt: () => expiresAt,
    get: async (fresh) => {
      if (!fresh && kept && (expiresAt ?? Infinity) - now() > MARGIN_MS) return kept;
      asked ??= ask();
      return asked;
    },
  };
}
