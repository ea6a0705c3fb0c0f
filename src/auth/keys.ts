/**
 * The public keys behind JWKS_URL: fetched when first needed, again when a token names a key nobody knows (rotation),
 * and every ten minutes in the background (a key taken out of the set stops working).
 * Promises: keys once fetched keep working while the endpoint is down; at most one fetch at a time, given up after 5 s,
 * and at most 12 a minute, however many tokens with invented key ids arrive. Web standards only.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters, type LocalJWKSet } from "jose";
import { TidingsError } from "../errors.ts";

const FETCH_TIMEOUT_MS = 5_000;
const MAX_AGE_MS = 600_000;
const FETCH_BURST = 5;
const FETCH_REFILL_MS = 5_000;

export interface KeysOptions {
  /** Clock in milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** How long one fetch may take. Default 5000. */
  readonly timeoutMs?: number | undefined;
}

export interface Keys {
  /** The keys that may verify a token with this header; more than one only where it names no `kid`. Throws `unavailable`. */
  find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]>;
  /** Fetches the set anew: true when there is a newer one, false when it was fetched too often lately. Throws `unavailable`. */
  refetch(): Promise<boolean>;
}

/** The keys at `url`. Nothing is fetched before the first `find`. */
export function remoteKeys(url: string, options: KeysOptions = {}): Keys {
  const { now = Date.now, timeoutMs = FETCH_TIMEOUT_MS } = options;
  const allowed = fetchBudget(now);
  let set: LocalJWKSet | undefined;
  let fetchedAt = 0;
  let lastFailure: TidingsError | undefined;
  let pending: Promise<void> | undefined;

  async function load(): Promise<void> {
    try {
      set = createLocalJWKSet(await fetchSet(url, timeoutMs));
      fetchedAt = now();
      lastFailure = undefined;
    } catch (cause) {
      lastFailure = new TidingsError(
        "unavailable",
        "The signing keys cannot be fetched from JWKS_URL, so this token cannot be checked: try again later.",
        { cause },
      );
      throw lastFailure;
    }
  }

  async function refetch(): Promise<boolean> {
    if (pending === undefined) {
      if (!allowed()) {
        // While the endpoint is down an unknown key may be a genuine new one: that is no verdict on the token.
        if (lastFailure !== undefined) throw lastFailure;
        return false;
      }
      pending = load().finally(() => {
        pending = undefined;
      });
    }
    await pending;
    return true;
  }

  async function find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]> {
    if (set === undefined) await refetch();
    else if (now() - fetchedAt >= MAX_AGE_MS) void refetch().catch(() => {});
    return set === undefined ? [] : matching(set, header);
  }

  return { find, refetch };
}

async function fetchSet(url: string, timeoutMs: number): Promise<JSONWebKeySet> {
  const response = await fetch(url, {
    headers: { accept: "application/json, application/jwk-set+json" },
    // The operator named this address and no other; a redirect could leave https.
    redirect: "manual",
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`JWKS_URL answered ${response.status} instead of 200`);
  }
  return (await response.json()) as JSONWebKeySet;
}

async function matching(set: LocalJWKSet, header: JWTHeaderParameters): Promise<readonly CryptoKey[]> {
  try {
    return [await set(header)];
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return [];
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    const keys: CryptoKey[] = [];
    for await (const key of error) keys.push(key);
    return keys;
  }
}

/** A token bucket, so that two rotations in a row are seen at once and a flood of invented key ids is not passed on. */
function fetchBudget(now: () => number): () => boolean {
  let left = FETCH_BURST;
  let at = now();
  return () => {
    const refilled = Math.floor((now() - at) / FETCH_REFILL_MS);
    if (refilled > 0) {
      left = Math.min(FETCH_BURST, left + refilled);
      at += refilled * FETCH_REFILL_MS;
    }
    if (left === 0) return false;
    left -= 1;
    return true;
  };
}
