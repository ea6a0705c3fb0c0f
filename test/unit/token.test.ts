/** Token to identity: what is accepted, what is refused and why. The keys behind JWKS_URL: keys.test.ts. */
import { base64url, SignJWT } from "jose";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  type Identity,
  signToken,
  createVerifier as single,
  type VerifierOptions,
  type Verify,
} from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { hmacCheck } from "../../src/runtime/hmac.ts";
import { rawToken, refusalOf, soon } from "../helpers/jwt.ts";

const test = suite("token");

type Outcome = { readonly identity: Identity } | { readonly error: TidingsError };

const outcome = (verify: Verify, token: string): Promise<Outcome> =>
  verify(token).then(
    (identity) => ({ identity }),
    (error: TidingsError) => ({ error }),
  );

/** A verifier that leaves all to jose and one that checks HMACs by itself, which must say the same of every token. */
function createVerifier(options: VerifierOptions): Verify {
  const [plain, quick] = [single(options), single({ ...options, hmac: hmacCheck })];
  return async (token) => {
    const [one, other] = [await outcome(plain, token), await outcome(quick, token)];
    if ("error" in one !== "error" in other) throw new Error(`they differ: ${JSON.stringify([one, other])}`);
    if ("error" in one && "error" in other) {
      assert.equal([other.error.code, other.error.message], [one.error.code, one.error.message]);
      throw other.error;
    }
    assert.equal(other, one);
    return (other as { identity: Identity }).identity;
  };
}

const SECRET = "a secret that is long enough for HS256";
const verify = createVerifier({ secret: SECRET });
const seconds = (): number => Math.floor(Date.now() / 1000);

const hs256 = (payload: string): Promise<string> => rawToken('{"alg":"HS256"}', payload, SECRET);

const refusal = (token: string, by: Verify = verify): Promise<TidingsError> => refusalOf(by, token);
const refusedFor = async (token: string, reason: string): Promise<void> =>
  assert.match((await refusal(token)).message, reason);

test("the quick way says yes to a good signature, so that it is taken, and no to any other spelling of it", async () => {
  for (const secret of [SECRET, "ein Geheimnis mit ümläuten, lang genug"]) {
    const [head, payload, signature] = (await signToken(secret, { user_id: 7 }, 60)).split(".") as [
      string,
      string,
      string,
    ];
    const isSigned = hmacCheck(secret);
    assert.is(isSigned(`${head}.${payload}`, signature), true);
    assert.is(isSigned(`${head}.${payload}`, `${signature}=`), false);
    // 32 bytes are 43 characters, the last of which has two bits to spare
    const last = String.fromCharCode(signature.charCodeAt(42) + 1);
    assert.is(isSigned(`${head}.${payload}`, signature.slice(0, 42) + last), false);
    assert.is(isSigned(`${head}.${payload}x`, signature), false);
  }
});

test("a good token names its user, its expiry and its age", async () => {
  const { expiresAt, issuedAt, ...who } = await verify(await signToken(SECRET, { user_id: 7 }, 60));
  assert.equal(who, { userId: "7", claim: 7, scopes: [] });
  assert.ok(Math.abs(expiresAt - soon()) <= 1 && Math.abs(issuedAt - seconds()) <= 1);
});

test("the user is user_id, else sub, a number or a text, kept as it came and as text", async () => {
  const who = async (claims: Record<string, unknown>): Promise<unknown[]> => {
    const { userId, claim } = await verify(await signToken(SECRET, claims, 60));
    return [userId, claim];
  };
  assert.equal(await who({ user_id: "7" }), ["7", "7"]);
  assert.equal(await who({ sub: "auth0|abc" }), ["auth0|abc", "auth0|abc"]);
  assert.equal(await who({ sub: 7 }), ["7", 7]);
  assert.equal(await who({ user_id: 0, sub: "other" }), ["0", 0]);
  assert.equal(await who({ user_id: Number.MAX_SAFE_INTEGER }), ["9007199254740991", 9007199254740991]);
  assert.equal(await who({ user_id: "x".repeat(255) }), ["x".repeat(255), "x".repeat(255)]);
  assert.equal(await who({ user_id: "ann 🙂" }), ["ann 🙂", "ann 🙂"]);
});

test("anything else as the user is refused, even beside a good sub", async () => {
  const ids = ["null", '""', "1.5", "9007199254740992", "1e999", "true", "[7]", "{}", '"a\\u0000b"', '"\\ud800"'];
  for (const id of [...ids, JSON.stringify("x".repeat(256))]) {
    await refusedFor(await hs256(`{"user_id":${id},"sub":"ann","exp":${soon()}}`), "user");
  }
  await refusedFor(await signToken(SECRET, {}, 60), "names no user");
});

test("exp is required and enforced with 30 seconds of skew", async () => {
  await refusedFor(await hs256('{"user_id":7}'), "no exp claim");
  for (const exp of ['"2099-01-01"', "null", "1e999", "[]"])
    await refusedFor(await hs256(`{"user_id":7,"exp":${exp}}`), "exp");
  assert.ok(await verify(await signToken(SECRET, { user_id: 7 }, -28)));
  await refusedFor(await signToken(SECRET, { user_id: 7 }, -31), "has expired");
  await refusedFor(await signToken(SECRET, { user_id: 7 }, -3600), "has expired");
});

test("the clock is the one given", async () => {
  const token = await signToken(SECRET, { user_id: 7 }, 60);
  const at = (s: number): Verify => createVerifier({ secret: SECRET, now: () => Date.now() + s * 1000 });
  assert.ok(await at(85)(token));
  assert.match((await refusal(token, at(95))).message, "has expired");
});

test("nbf is enforced with 30 seconds of skew", async () => {
  assert.ok(await verify(await signToken(SECRET, { user_id: 7, nbf: seconds() + 28 }, 60)));
  await refusedFor(await signToken(SECRET, { user_id: 7, nbf: seconds() + 33 }, 60), "not valid yet");
});

test("a refresh token is refused, an access token is not", async () => {
  await refusedFor(await signToken(SECRET, { user_id: 7, token_type: "refresh" }, 60), "refresh token");
  assert.ok(await verify(await signToken(SECRET, { user_id: 7, token_type: "access" }, 60)));
});

test("a token without iat counts as old, a fraction is rounded down", async () => {
  assert.is((await verify(await hs256(`{"user_id":7,"exp":${soon()}}`))).issuedAt, 0);
  const { issuedAt, expiresAt } = await verify(await hs256(`{"user_id":7,"exp":${soon()}.9,"iat":1000.9}`));
  assert.is(issuedAt, 1000);
  assert.ok(Number.isInteger(expiresAt));
});

test("scopes are read from scope, scopes and scp, as text or array", async () => {
  const scopes = async (claims: Record<string, unknown>): Promise<readonly string[]> =>
    (await verify(await signToken(SECRET, { user_id: 7, ...claims }, 60))).scopes;
  assert.equal(await scopes({ scope: "publish  metrics" }), ["publish", "metrics"]);
  assert.equal(await scopes({ scopes: ["publish", 7, null, ""] }), ["publish"]);
  assert.equal(await scopes({ scp: ["a", "b"], scope: "b c" }), ["b", "c", "a"]);
  assert.equal(await scopes({ scope: { publish: true } }), []);
});

test("issuer and audience are enforced where configured", async () => {
  const strict = createVerifier({ secret: SECRET, issuer: "me", audience: "you" });
  const sign = (iss?: string, aud?: unknown): Promise<string> => signToken(SECRET, { user_id: 7, iss, aud }, 60);
  assert.ok(await strict(await sign("me", "you")));
  assert.ok(await strict(await sign("me", ["she", "you"])));
  assert.match((await refusal(await sign("she", "you"), strict)).message, "iss claim");
  assert.match((await refusal(await sign("me", "she"), strict)).message, "aud claim");
  assert.match((await refusal(await sign("me"), strict)).message, "no aud claim");
});

test("alg none is refused, however it is spelt and whatever stands as the signature", async () => {
  const claims = `{"user_id":7,"exp":${soon()}}`;
  for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
    await refusedFor(await rawToken(`{"alg":"${alg}"}`, claims), "");
    await refusedFor(await rawToken(`{"alg":"${alg}"}`, claims, SECRET), "");
  }
  await refusedFor(await rawToken("{}", claims, SECRET), "");
});

test("with a secret only HS256 is accepted", async () => {
  const sign = (alg: string): Promise<string> =>
    new SignJWT({ user_id: 7, exp: soon() })
      .setProtectedHeader({ alg })
      .sign(new TextEncoder().encode(SECRET.repeat(2)));
  const long = createVerifier({ secret: SECRET.repeat(2) });
  assert.ok(await long(await sign("HS256")));
  for (const alg of ["HS384", "HS512"]) {
    assert.match((await refusal(await sign(alg), long)).message, "algorithm");
  }
});

test("a wrong signature, another secret or a changed payload is refused", async () => {
  await refusedFor(await signToken(`${SECRET}!`, { user_id: 7 }, 60), "signature does not match");
  const [header, , signature] = (await signToken(SECRET, { user_id: 7 }, 60)).split(".");
  const forged = base64url.encode(`{"user_id":1,"exp":${soon()}}`);
  await refusedFor(`${header}.${forged}.${signature}`, "signature does not match");
  await refusedFor(`${header}.${forged}.`, "");
});

test("more than 8 KiB is refused before it is parsed", async () => {
  await refusedFor(await signToken(SECRET, { user_id: 7, pad: "x".repeat(8192) }, 60), "longer than 8192");
  assert.ok(await verify(await signToken(SECRET, { user_id: 7, pad: "x".repeat(5000) }, 60)));
});

test("whatever is malformed is unauthenticated and nothing else", async () => {
  const inputs = [
    "",
    ".",
    "..",
    "a.b.c",
    "a.b",
    "a.b.c.d.e",
    "null",
    "🙂.🙂.🙂",
    "\0",
    "e30.e30.e30",
    "bnVsbA.bnVsbA.bnVsbA",
  ];
  for (const input of inputs) await refusal(input);
  for (const input of [undefined, null, 7, {}, [], Symbol("t")]) await refusal(input as unknown as string);
  const claims = `{"user_id":7,"exp":${soon()}}`;
  const headers = [
    "[]",
    "7",
    '{"alg":7}',
    '{"alg":["HS256"]}',
    '{"alg":"HS256","crit":["x"],"x":1}',
    '{"alg":"__proto__"}',
  ];
  for (const header of [...headers, '{"alg":"HS256","b64":false,"crit":["b64"]}', '{"alg":"HS256"']) {
    await refusal(await rawToken(header, claims, SECRET));
  }
  for (const payload of ["", "[]", "7", "null", '"x"', "{", "\xff"]) await refusal(await hs256(payload));
});

test("no single changed character of a good token gets through, or throws anything else", async () => {
  const good = await signToken(SECRET, { user_id: 7 }, 60);
  // Not the last one: it holds bits that base64url does not use.
  for (let at = 0; at < good.length - 1; at += 1) {
    for (const bit of [0, at % 7]) {
      await refusal(good.slice(0, at) + String.fromCharCode(good.charCodeAt(at) ^ (1 << bit)) + good.slice(at + 1));
    }
  }
});

test("no refusal carries any of the token or its claims", async () => {
  const claims = { user_id: 7, mail: "ann@example.test" };
  const tokens = [
    await signToken(SECRET, claims, -3600),
    await signToken("another secret altogether", claims, 60),
    await signToken(SECRET, { ...claims, nbf: soon() * 2 }, 60),
    await hs256("ann@example.test is no JSON"),
    await rawToken("ann@example.test", "{}", SECRET),
  ];
  for (const token of tokens) {
    const error = await refusal(token);
    assert.is(error.cause, undefined);
    assert.equal(Object.keys(error).sort(), ["code", "name"]);
    assert.not.match(`${error.stack}`, "ann@example.test");
    for (const part of token.split(".")) if (part.length > 8) assert.not.match(`${error.stack}`, part);
  }
});

test("no secret and no key address is a configuration error", () => {
  for (const options of [{}, { secret: "" }, { secret: undefined, jwksUrl: undefined }]) {
    assert.throws(
      () => createVerifier(options),
      (error: unknown) => error instanceof TidingsError && error.code === "configuration",
    );
  }
});

test.run();
