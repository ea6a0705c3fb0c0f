/** The keys behind JWKS_URL, on a real endpoint: rotation, outage, floods, and the confusions that must not work. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { remoteKeys } from "../../src/auth/keys.ts";
import { createVerifier, signToken, type Verify } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { rawToken, refusalOf, soon } from "../helpers/jwt.ts";

const test = suite("keys");
const SECRET = "a secret that is long enough for HS256";

interface Signer {
  jwk: JWK;
  spki: string;
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}
async function signer(alg: string, kid?: string): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), alg, use: "sig", ...(kid ? { kid } : {}) };
  const sign: Signer["sign"] = (claims = {}, header = {}) =>
    new SignJWT({ user_id: 7, exp: soon(), ...claims })
      .setProtectedHeader({ alg, ...(kid ? { kid } : {}), ...header })
      .sign(privateKey);
  return { jwk, spki: await exportSPKI(publicKey), sign };
}

const [one, two] = [await signer("RS256", "one"), await signer("RS256", "two")];
let fetches = 0;
let clock = Date.now();
let answer: (response: ServerResponse) => void;
const serveKeys = (...keys: JWK[]): void => {
  answer = (response) => void response.end(JSON.stringify({ keys }));
};
const serveText = (status: number, text: string): void => {
  answer = (response) => void response.writeHead(status, { location: "/elsewhere" }).end(text);
};
const server: Server = createServer((request, response) => {
  fetches += 1;
  if (request.url === "/elsewhere") serveKeys(one.jwk);
  answer(response);
});
let port = 0;
const listen = (): Promise<void> =>
  new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      port = (server.address() as AddressInfo).port;
      resolve();
    });
  });
const stop = (): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
const url = (): string => `http://127.0.0.1:${port}/jwks.json`;
const withKeys = (options: { secret?: string } = {}): Verify =>
  createVerifier({ jwksUrl: url(), now: () => clock, ...options });

test.before(listen);
test.before.each(() => {
  fetches = 0;
  clock = Date.now();
  serveKeys(one.jwk);
});
test.after(stop);

test("RS256, PS256, ES256, ES384 and EdDSA are verified with the keys of the endpoint", async () => {
  const signers: Signer[] = [];
  for (const alg of ["RS256", "PS256", "ES256", "ES384", "EdDSA"]) signers.push(await signer(alg, `key of ${alg}`));
  serveKeys(...signers.map(({ jwk }) => jwk));
  const check = withKeys();
  for (const { sign } of signers) assert.is((await check(await sign())).userId, "7");
  assert.is(fetches, 1);
});

test("claims are enforced for asymmetric tokens too, for the reason that it is", async () => {
  const check = withKeys();
  const cases = [
    [{ exp: undefined }, "no exp claim"],
    [{ exp: soon() - 91 }, "has expired"],
    [{ nbf: soon() }, "not valid yet"],
    [{ token_type: "refresh" }, "refresh token"],
  ] as const;
  for (const [claims, reason] of cases) {
    assert.match((await refusalOf(check, await one.sign(claims))).message, reason);
  }
});

test("algorithm confusion: HS256 signed with the public key, in any form, is refused", async () => {
  const claims = `{"user_id":7,"exp":${soon()}}`;
  const der = Uint8Array.from(atob(one.spki.replace(/-----.*-----|\n/g, "")), (c) => c.charCodeAt(0));
  for (const key of [one.spki, one.spki.trim(), JSON.stringify(one.jwk), base64url.decode(one.jwk.n!), der]) {
    const token = await rawToken('{"alg":"HS256","kid":"one"}', claims, key);
    await refusalOf(withKeys(), token);
    await refusalOf(withKeys({ secret: SECRET }), token);
  }
});

test("a shared key published in the set, or a key carried by the token, is never used", async () => {
  serveKeys({ kty: "oct", k: base64url.encode(SECRET), kid: "shared", alg: "HS256" }, one.jwk);
  const claims = `{"user_id":7,"exp":${soon()}}`;
  await refusalOf(withKeys(), await rawToken('{"alg":"HS256","kid":"shared"}', claims, SECRET));
  const stranger = await signer("RS256");
  for (const header of [{ jwk: stranger.jwk }, { jku: url() }, { kid: "one", jwk: stranger.jwk }]) {
    await refusalOf(withKeys(), await stranger.sign({}, header));
  }
});

test("with a secret alone asymmetric tokens are refused, with keys alone HS256 is, with both each has its own", async () => {
  const mine = await signToken(SECRET, { user_id: 7 }, 60);
  assert.match((await refusalOf(createVerifier({ secret: SECRET }), await one.sign())).message, "algorithm");
  assert.match((await refusalOf(withKeys(), mine)).message, "algorithm");
  const both = withKeys({ secret: SECRET });
  assert.is((await both(await one.sign())).userId, "7");
  assert.is((await both(mine)).userId, "7");
});

test("rotation: a token with a key id nobody knows has the set fetched again", async () => {
  const check = withKeys();
  assert.ok(await check(await one.sign()));
  serveKeys(one.jwk, two.jwk);
  assert.ok(await check(await two.sign()));
  assert.ok(await check(await one.sign()));
  assert.is(fetches, 2);
});

test("rotation without key ids: a signature that fits nothing has the set fetched again", async () => {
  const [old, next] = [await signer("ES256"), await signer("ES256")];
  serveKeys(old.jwk);
  const check = withKeys();
  assert.ok(await check(await old.sign()));
  serveKeys(old.jwk, next.jwk);
  assert.ok(await check(await next.sign()));
  assert.ok(await check(await old.sign()), "each of several keys without an id is tried");
});

test("a signature that does not fit a known key id costs no fetch", async () => {
  const check = withKeys();
  const forged = await two.sign({}, { kid: "one" });
  for (let i = 0; i < 5; i += 1) {
    assert.match((await refusalOf(check, forged)).message, "signature");
  }
  assert.is(fetches, 1);
});

test("a flood of invented key ids is not passed on, and a rotation is seen after it", async () => {
  const check = withKeys();
  for (let i = 0; i < 40; i += 1) {
    const token = await one.sign({}, { kid: `invented ${i}` });
    assert.match((await refusalOf(check, token)).message, "unknown key");
  }
  assert.is(fetches, 5);
  assert.ok(await check(await one.sign()), "known keys are not affected");
  serveKeys(two.jwk);
  clock += 7_500;
  assert.ok(await check(await two.sign()));
  clock += 2_500;
  for (let i = 0; i < 3; i += 1) await refusalOf(check, await two.sign({}, { kid: "invented" }));
  assert.is(fetches, 7);
});

test("tokens that arrive together share one fetch", async () => {
  const check = withKeys();
  const token = await one.sign();
  await Promise.all(Array.from({ length: 50 }, () => check(token)));
  assert.is(fetches, 1);
});

test("a key taken out of the set stops working within ten minutes, without a new one being seen", async () => {
  const check = withKeys();
  assert.ok(await check(await one.sign()));
  serveKeys(two.jwk);
  clock += 599_000;
  const lasting = { exp: soon() + 3600 };
  assert.ok(await check(await one.sign(lasting)));
  clock += 1_000;
  assert.ok(await check(await one.sign(lasting)), "the old set answers while the new one is fetched");
  const deadline = Date.now() + 5_000;
  let code: unknown;
  while (code === undefined && Date.now() < deadline)
    code = await check(await one.sign(lasting)).then(
      () => undefined,
      (e) => e.code,
    );
  assert.is(code, "unauthenticated");
});

test("an endpoint that is down is unavailable, not a bad token, and works as soon as it is back", async () => {
  await stop();
  const check = withKeys();
  const error = await refusalOf(check, await one.sign(), "unavailable");
  assert.match(error.message, "JWKS_URL");
  assert.instance(error.cause, Error);
  await refusalOf(check, "rubbish");
  await listen();
  assert.ok(await check(await one.sign()));
});

test("keys once fetched keep working while the endpoint is down, for days", async () => {
  const check = withKeys();
  assert.ok(await check(await one.sign()));
  await stop();
  for (let day = 0; day < 5; day += 1) {
    clock += 86_400_000;
    assert.ok(await check(await one.sign({ exp: Math.floor(clock / 1000) + 60 })), `day ${day}`);
  }
  clock += 60_000;
  const unknown = await two.sign({ exp: Math.floor(clock / 1000) + 60 });
  for (let i = 0; i < 8; i += 1) await refusalOf(check, unknown, "unavailable");
  const forged = await two.sign({ exp: Math.floor(clock / 1000) + 60 }, { kid: "one" });
  await refusalOf(check, forged);
  await listen();
  serveKeys(one.jwk, two.jwk);
  clock += 5_000;
  assert.ok(await check(unknown));
  await refusalOf(check, await one.sign({}, { kid: "invented" }));
});

test("an endpoint that answers with an error, a redirect or no key set is unavailable", async () => {
  const good = JSON.stringify({ keys: [one.jwk] });
  for (const [status, text] of [
    [500, good],
    [302, good],
    [200, "<html>"],
    [200, "[]"],
    [200, '{"keys":7}'],
  ] as const) {
    serveText(status, text);
    await refusalOf(withKeys(), await one.sign(), "unavailable");
  }
});

test("a bad answer does not push out the keys that are there", async () => {
  const check = withKeys();
  assert.ok(await check(await one.sign()));
  serveText(200, "<html>");
  await refusalOf(check, await two.sign(), "unavailable");
  assert.ok(await check(await one.sign()));
});

test("an endpoint that never answers is given up", async () => {
  answer = () => {};
  const began = Date.now();
  try {
    await remoteKeys(url(), { timeoutMs: 100 }).find({ alg: "RS256" });
    assert.unreachable();
  } catch (error) {
    assert.is(error instanceof TidingsError && error.code, "unavailable");
  }
  assert.ok(Date.now() - began < 3_000);
});

test("a weak or broken key in the set refuses its own tokens and harms no others", async () => {
  serveKeys({ kty: "RSA", kid: "broken", n: "!!", e: "AQAB" }, { kty: "what", kid: "strange" }, one.jwk);
  const check = withKeys();
  await refusalOf(check, await one.sign({}, { kid: "broken" }));
  await refusalOf(check, await one.sign({}, { kid: "strange" }));
  assert.ok(await check(await one.sign()));
});

test.run();
