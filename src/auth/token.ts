/**
 * Token to identity. HS256 with the shared secret, asymmetric algorithms with the keys behind JWKS_URL; the algorithms
 * are pinned to the kind of key, so a token can choose neither `none` nor a public key as an HMAC secret.
 * Refuses: no `exp`, refresh tokens, anything over 8 KiB (before parsing), a user id that is no text or safe integer.
 * Every refusal is a TidingsError: `unauthenticated` (the token), `unavailable` (the keys). No message, no cause and no
 * property of it carries any part of a token or its claims. Web standards only.
 */
import {
  decodeProtectedHeader,
  errors,
  type JWTClaimVerificationOptions,
  type JWTHeaderParameters,
  type JWTPayload,
  jwtVerify,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { TidingsError } from "../errors.ts";
import { type Keys, remoteKeys } from "./keys.ts";

/** How far the clocks of issuer and server may differ, in seconds, for `exp` and `nbf`. */
export const CLOCK_SKEW_SECONDS = 30;

const MAX_TOKEN_LENGTH = 8_192;
const MAX_USER_ID_LENGTH = 255;
const ASYMMETRIC: ReadonlySet<string> = new Set([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"],
  ...["EdDSA", "Ed25519", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"],
]);

export interface Identity {
  /** The user id claim as text. */
  readonly userId: string;
  /** The user id claim as it came, for `ready.user_id`. */
  readonly claim: string | number;
  /** `exp` in whole epoch seconds. Up to 30 s in the past, for the clock skew. */
  readonly expiresAt: number;
  /** `iat` in whole epoch seconds, rounded down; 0 when the token has none, so that a revocation counts it as old. */
  readonly issuedAt: number;
  /** Of the claims `scope`, `scopes` and `scp`: texts separated by spaces, or arrays. */
  readonly scopes: readonly string[];
}

export interface VerifierOptions {
  /** Shared secret for HS256, as UTF-8 text. */
  readonly secret?: string | undefined;
  /** Address of a JWK set, for asymmetric algorithms. */
  readonly jwksUrl?: string | undefined;
  /** Required `iss`. Default: any. */
  readonly issuer?: string | undefined;
  /** Required member of `aud`. Default: any. */
  readonly audience?: string | undefined;
  /** Clock in milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** A way to check HS256 at once; it may only say yes, all else is left to jose. Default: jose checks all. */
  readonly hmac?: HmacCheck | undefined;
}

/** Made for a secret: whether the second text is the base64url signature of the first. */
export type HmacCheck = (secret: string) => (text: string, signature: string) => boolean;

/** Resolves to who the token speaks for. Rejects with TidingsError only: `unauthenticated`, or `unavailable` (keys out of reach). */
export type Verify = (token: string) => Promise<Identity>;

/** A verifier. Throws `configuration` when there is neither a secret nor a JWKS address. */
export function createVerifier(options: VerifierOptions): Verify {
  const secret = options.secret ? hmacKey(options.secret) : undefined;
  const isSigned = options.secret ? options.hmac?.(options.secret) : undefined;
  const keys = options.jwksUrl ? remoteKeys(options.jwksUrl, { now: options.now }) : undefined;
  if (secret === undefined && keys === undefined) {
    throw new TidingsError("configuration", "No way to check tokens: set JWT_SECRET (HS256) or JWKS_URL.");
  }
  async function claimsOf(token: string): Promise<JWTPayload> {
    if (token.length > MAX_TOKEN_LENGTH) throw refused(`The token is longer than ${MAX_TOKEN_LENGTH} characters.`);
    const header = decodeProtectedHeader(token) as JWTHeaderParameters;
    const check: Check = (key) => verified(token, key, header.alg, options);
    if (header.alg === "HS256" && secret !== undefined) {
      const payload = isSigned && payloadOf(token, header, isSigned);
      return payload ? checkedClaims(payload, options) : check(await secret);
    }
    if (ASYMMETRIC.has(header.alg) && keys !== undefined) return checkWithSet(keys, header, check);
    throw refused("The token's signing algorithm is not accepted here.");
  }
  return async (token) => {
    try {
      return identityOf(await claimsOf(token));
    } catch (error) {
      // jose's errors carry the claims, and JSON's quote the text: neither is kept as a cause.
      throw error instanceof TidingsError ? error : refused(reasonOf(error));
    }
  };
}

/**
 * Signs an HS256 token, for the command line, the demo and tests.
 * @param claims for example `{ user_id: 7 }`; `iat` is now unless given, `exp` is always set
 * @param expiresInSeconds negative for a token that has expired
 */
export async function signToken(
  secret: string,
  claims: Record<string, unknown>,
  expiresInSeconds: number,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ iat: now, ...claims, exp: now + expiresInSeconds })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .sign(await hmacKey(secret));
}

type Check = (key: CryptoKey) => Promise<JWTPayload>;

function hmacKey(secret: string): Promise<CryptoKey> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return crypto.subtle.importKey("raw", new TextEncoder().encode(secret), algorithm, false, ["sign", "verify"]);
}

async function verified(token: string, key: CryptoKey, alg: string, options: VerifierOptions): Promise<JWTPayload> {
  const { payload } = await jwtVerify(token, key, { ...claimRules(options), algorithms: [alg] });
  return payload;
}

function claimRules({ issuer, audience, now = Date.now }: VerifierOptions): JWTClaimVerificationOptions {
  return {
    clockTolerance: CLOCK_SKEW_SECONDS,
    currentDate: new Date(now()),
    requiredClaims: ["exp"],
    ...(issuer ? { issuer } : {}),
    ...(audience ? { audience } : {}),
  };
}

/** The payload where the signature is good; undefined where it is not, or where jose has to look closer. */
function payloadOf(token: string, header: JWTHeaderParameters, isSigned: ReturnType<HmacCheck>): string | undefined {
  const [head, payload, signature, ...more] = token.split(".");
  if (more.length > 0 || !signature || header.crit !== undefined || "b64" in header) return undefined;
  return isSigned(`${head}.${payload}`, signature) ? payload : undefined;
}

/** The claims of a payload whose signature was checked: jose looks at claims alone only in this dress. */
function checkedClaims(payload: string, options: VerifierOptions): JWTPayload {
  return UnsecuredJWT.decode(`${NO_SIGNATURE}.${payload}.`, claimRules(options)).payload;
}

/** `{"alg":"none"}` */
const NO_SIGNATURE = "eyJhbGciOiJub25lIn0";

async function checkWithSet(keys: Keys, header: JWTHeaderParameters, check: Check): Promise<JWTPayload> {
  const found = await keys.find(header);
  const claims = await firstThatFits(found, check);
  if (claims !== undefined) return claims;
  // A key that was rotated in shows as an unknown kid, or, where the issuer uses no kids, as a signature that fits nothing.
  const mayBeNew = found.length === 0 || header.kid === undefined;
  if (mayBeNew && (await keys.refetch())) {
    const again = await firstThatFits(await keys.find(header), check);
    if (again !== undefined) return again;
  }
  throw refused(found.length === 0 ? "The token is signed with an unknown key." : SIGNATURE);
}

async function firstThatFits(found: readonly CryptoKey[], check: Check): Promise<JWTPayload | undefined> {
  for (const key of found) {
    try {
      return await check(key);
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  return undefined;
}

function identityOf(claims: JWTPayload): Identity {
  if (claims.token_type === "refresh") throw refused("This is a refresh token: send the access token instead.");
  const { exp, iat } = claims;
  // JSON has no Infinity, but 1e999 parses to it: a token that never expires.
  if (exp === undefined || !Number.isSafeInteger(Math.floor(exp))) throw refused("The token's exp is no usable time.");
  const claim = userIdOf(claims);
  return {
    userId: String(claim),
    claim,
    expiresAt: Math.floor(exp),
    issuedAt: iat !== undefined && Number.isFinite(iat) ? Math.floor(iat) : 0,
    scopes: scopesOf(claims),
  };
}

function userIdOf(claims: JWTPayload): string | number {
  const claim = claims.user_id === undefined ? (claims.sub as unknown) : claims.user_id;
  if (typeof claim === "number" && Number.isSafeInteger(claim)) return claim;
  if (typeof claim !== "string" || claim === "") {
    throw refused("The token names no user: user_id, else sub, must be a text or a whole number.");
  }
  // Postgres stores neither NUL nor half a surrogate pair as text.
  if (claim.length > MAX_USER_ID_LENGTH || /\0|\p{Surrogate}/u.test(claim)) {
    throw refused(`The token's user id is no plain text of at most ${MAX_USER_ID_LENGTH} characters.`);
  }
  return claim;
}

function scopesOf(claims: JWTPayload): readonly string[] {
  const texts = [claims.scope, claims.scopes, claims.scp].flat().filter((each) => typeof each === "string");
  return [...new Set(texts.flatMap((text) => text.split(" ")).filter((scope) => scope !== ""))];
}

const SIGNATURE = "The token's signature does not match.";

function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "The token has expired: get a new one.";
  if (error instanceof errors.JWSSignatureVerificationFailed) return SIGNATURE;
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === "missing") return `The token has no ${error.claim} claim.`;
    if (error.claim === "nbf") return "The token is not valid yet.";
    return `The token's ${error.claim} claim is not accepted here.`;
  }
  return "The token is malformed.";
}

function refused(reason: string): TidingsError {
  return new TidingsError("unauthenticated", reason);
}
