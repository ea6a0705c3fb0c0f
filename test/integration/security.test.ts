// @timeout 60
/**
 * What an attacker tries from outside: another site's page with the user's cookie, tokens bent against a server that takes
 * asymmetric ones, floods from one address, and bodies without end. Where tokens stand is tested in tokens.test.ts.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, type HandshakeRefused, type SocketClient, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance, SECRET, token } from "../helpers/instance.ts";
import { rawToken, soon } from "../helpers/jwt.ts";
import { rawClient } from "../helpers/raw.ts";

const test = suite("security");
const OWN = "https://app.example";
let db: TestDatabase;
let app: Instance;
let room: number;

test.before(async () => {
  db = await database({ domain: true });
  await db.sql`insert into app."user" (username) select name from unnest('{ann,ben,cleo}'::text[]) name`;
  const [made] = await db.sql`insert into app.room (kind) values ('group') returning id`;
  room = made!.id;
  await db.sql`insert into app.room_member (room_id, user_id) values (${room}, 1), (${room}, 2)`;
  app = await instance(db.url, { env: { ALLOWED_ORIGINS: OWN, JWT_ISSUER: "", MAX_STREAMS_PER_USER: "3" } });
});
test.after.each(closeClients);
test.after(async () => {
  await app?.stop();
  await db?.drop();
});

const paths = (): string[] => ["notifications/", `chat/group/${room}/`, `chat/room/${room}`];

test("a page of another site cannot open any stream with the user's cookie, nor have its answer read", async () => {
  const cookie = `access=${await token(1)}`;
  for (const path of paths()) {
    for (const origin of [
      "https://evil.example",
      "null",
      "https://app.example:444",
      "http://app.example",
      "https://sub.app.example",
    ]) {
      const headers = { cookie, origin };
      const refused = await socket(`${app.ws}/ws/${path}`, { headers }).catch((error: unknown) => error);
      assert.is((refused as HandshakeRefused).status, 403, `${path} from ${origin}`);
      const stream = await sse(`${app.url}/sse/${path}`, headers);
      assert.is(stream.status, 403, `${path} from ${origin}`);
      assert.is(stream.headers["access-control-allow-origin"], undefined);
      assert.is(stream.headers["access-control-allow-credentials"], undefined);
      await stream.ended;
      assert.equal(stream.frames, []);
    }
    const mine = await socket(`${app.ws}/ws/${path}`, { headers: { cookie, origin: OWN } });
    await mine.find("ready");
    const stream = await sse(`${app.url}/sse/${path}`, { cookie, origin: OWN });
    await stream.find("ready");
    assert.is(stream.headers["access-control-allow-origin"], OWN);
    assert.match(String(stream.headers.vary), /origin/i);
    mine.close();
    stream.close();
    await mine.closed;
  }
});

test("a foreign origin cannot be smuggled in: two Origin headers, forwarded headers of nobody's proxy, other spellings", async () => {
  const cookie = `access=${await token(1)}`;
  const port = Number(new URL(app.url).port);
  const evil = [
    "Origin: https://evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https",
    "Origin: https://evil.example\r\nOrigin: https://app.example",
    "Origin: https://app.example@evil.example",
    "Origin: https://app.example#.evil.example",
    "Origin: https://app.example/",
    "ORIGIN: HTTPS://EVIL.EXAMPLE",
  ];
  for (const lines of evil) {
    const client = await rawClient(
      port,
      `GET /sse/notifications/ HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\nCookie: ${cookie}\r\n${lines}\r\n\r\n`,
    );
    await new Promise((resolve) => client.socket.once("data", resolve));
    const [status] = client.received().split("\r\n");
    client.socket.destroy();
    // a trailing slash is another spelling of an origin that may
    assert.is(status!.split(" ")[1], lines.endsWith("app.example/") ? "200" : "403", lines);
  }
});

test("answers say how a browser is to treat them, and no cache keeps what is a user's own", async () => {
  const headers = await app.auth(1);
  for (const path of ["/api/inbox", "/docs", "/healthz", "/", "/nothing"]) {
    const answer = await fetch(app.url + path, { headers });
    assert.is(answer.headers.get("x-content-type-options"), "nosniff", path);
    assert.ok(answer.headers.get("x-frame-options"), path);
    assert.ok(answer.headers.get("referrer-policy"), path);
    assert.is(answer.headers.get("x-powered-by"), null, path);
    assert.match(String(answer.headers.get("x-request-id")), /^[\w-]{10,}$/, path);
  }
  for (const path of ["/api/inbox", "/api/notifications", "/api/preferences", "/api/friends", "/api/nothing"]) {
    assert.is((await fetch(app.url + path, { headers })).headers.get("cache-control"), "no-store", path);
  }
  assert.is((await fetch(`${app.url}/api/inbox`)).headers.get("cache-control"), "no-store");
});

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;

interface Issuer {
  readonly url: string;
  keys: { kid: string; pair: Pair }[];
  down: boolean;
  fetched: number;
  close(): void;
}

/** A key server that can be down, and whose keys change. */
async function issuer(): Promise<Issuer> {
  const state = { keys: [] as Issuer["keys"], down: false, fetched: 0 };
  const server: Server = createServer(async (_request, response) => {
    state.fetched++;
    response.statusCode = state.down ? 503 : 200;
    const keys = await Promise.all(
      state.keys.map(async ({ kid, pair }) => ({
        ...(await exportJWK(pair.publicKey)),
        kid,
        alg: "RS256",
        use: "sig",
      })),
    );
    response.end(JSON.stringify({ keys }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
  return Object.assign(state, { url, close: () => void server.close() });
}

const rsa = (): Promise<Pair> => generateKeyPair("RS256", { extractable: true });

interface Claims {
  [claim: string]: unknown;
}

function signed({ kid, pair }: { kid: string; pair: Pair }, claims: Claims = {}): Promise<string> {
  return new SignJWT({ user_id: 1, iss: "https://issuer.example", aud: "tidings", exp: soon(), ...claims })
    .setProtectedHeader({ alg: "RS256", kid })
    .sign(pair.privateKey);
}

/** `open`, or the code it was closed with. */
function outcome(client: SocketClient): Promise<unknown> {
  return client.find("ready").then(
    () => "open",
    async () => (await client.closed).code,
  );
}

/** How a token fares on each way in: the status over REST and SSE, the close code (or `open`) over a WebSocket. */
async function fares(on: Instance, jwt: string): Promise<unknown[]> {
  const headers = { authorization: `Bearer ${jwt}` };
  const rest = (await fetch(`${on.url}/api/inbox`, { headers })).status;
  const stream = await sse(`${on.url}/sse/notifications/`, headers);
  const client = await socket(`${on.ws}/ws/notifications/`, { headers });
  const opened = await outcome(client);
  stream.close();
  client.close();
  return [rest, stream.status, opened];
}

const REFUSED = [401, 401, 4401];
const TAKEN = [200, 200, "open"];

test("with public keys: a token bent in any way is refused on REST, SSE and WebSocket; the clock skew is forgiven", async () => {
  const keys = await issuer();
  const one = { kid: "one", pair: await rsa() };
  keys.keys = [one];
  const env = { JWT_SECRET: "", JWKS_URL: keys.url, JWT_ISSUER: "https://issuer.example", JWT_AUDIENCE: "tidings" };
  const server = await instance(db.url, { env });
  try {
    const now = soon() - 60;
    assert.equal(await fares(server, await signed(one)), TAKEN);
    assert.equal(await fares(server, await signed(one, { aud: ["other", "tidings"] })), TAKEN);
    assert.equal(await fares(server, await signed(one, { exp: now - 20 })), TAKEN, "20 s past its end is skew");
    assert.equal(await fares(server, await signed(one, { nbf: now + 20 })), TAKEN, "20 s early is skew");
    const pem = await exportSPKI(one.pair.publicKey);
    const jwk = JSON.stringify(await exportJWK(one.pair.publicKey));
    const claims = JSON.stringify({ user_id: 1, iss: "https://issuer.example", aud: "tidings", exp: soon() });
    const other = { kid: "one", pair: await rsa() };
    const good = await signed(one);
    const [head, body, signature] = good.split(".") as [string, string, string];
    const stolen = Buffer.from(
      JSON.stringify({ user_id: 2, iss: "https://issuer.example", aud: "tidings", exp: soon() }),
    ).toString("base64url");
    const bent: Record<string, string> = {
      "alg none": await rawToken('{"alg":"none"}', claims),
      "alg None": await rawToken('{"alg":"None"}', claims),
      "HS256 with the public key's PEM": await rawToken('{"alg":"HS256","kid":"one"}', claims, pem),
      "HS256 with the public key's JWK": await rawToken('{"alg":"HS256","kid":"one"}', claims, jwk),
      "HS256 with an empty secret": await rawToken('{"alg":"HS256"}', claims, "x"),
      "HS256 with the secret of others": await rawToken('{"alg":"HS256"}', claims, SECRET),
      "another key under the same kid": await signed(other),
      "its own key in the header": await new SignJWT(JSON.parse(claims))
        .setProtectedHeader({ alg: "RS256", jwk: await exportJWK(other.pair.publicKey) })
        .sign(other.pair.privateKey),
      "its own key server in the header": await new SignJWT(JSON.parse(claims))
        .setProtectedHeader({ alg: "RS256", jku: "http://evil.example/jwks.json" } as never)
        .sign(other.pair.privateKey),
      "a critical extension": await rawToken('{"alg":"RS256","kid":"one","crit":["exp"]}', claims, "x"),
      "another user in the payload": `${head}.${stolen}.${signature}`,
      "no signature": `${head}.${body}.`,
      "a fourth part": `${good}.AAAA`,
      "another issuer": await signed(one, { iss: "https://evil.example" }),
      "no issuer": await signed(one, { iss: undefined }),
      "another audience": await signed(one, { aud: "other" }),
      "no audience": await signed(one, { aud: undefined }),
      "not yet valid": await signed(one, { nbf: now + 120 }),
      "past its end": await signed(one, { exp: now - 120 }),
      "an end in words": await signed(one, { exp: "never" }),
      "no end": await signed(one, { exp: undefined }),
      "a user id that is an object": await signed(one, { user_id: { id: 1 } }),
      "more than 8 KiB": await signed(one, { filler: "x".repeat(9_000) }),
    };
    for (const [name, jwt] of Object.entries(bent)) assert.equal(await fares(server, jwt), REFUSED, name);
    assert.equal(await fares(server, good), TAKEN, "a genuine one still works after all that");
  } finally {
    await server.stop();
    keys.close();
  }
});

test("keys rotate without a restart, one taken away stops nobody else, and while the key server is away known keys work", async () => {
  const keys = await issuer();
  const [one, two, three] = await Promise.all(["one", "two", "three"].map(async (kid) => ({ kid, pair: await rsa() })));
  keys.down = true;
  keys.keys = [one!];
  const server = await instance(db.url, { env: { JWT_SECRET: "", JWKS_URL: keys.url, JWT_AUDIENCE: "tidings" } });
  try {
    const headers = { authorization: `Bearer ${await signed(one!)}` };
    assert.is((await fetch(`${server.url}/api/inbox`, { headers })).status, 503, "no verdict on the token");
    keys.down = false;
    assert.equal(await fares(server, await signed(one!)), TAKEN);
    keys.keys = [one!, two!];
    assert.equal(await fares(server, await signed(two!)), TAKEN);
    keys.down = true;
    assert.equal(await fares(server, await signed(two!)), TAKEN);
    assert.equal(await fares(server, await signed(three!)), [503, 200, 1013], "it may be a new key: try again");
    assert.ok(keys.fetched < 10, `${keys.fetched} fetches: unknown keys must not flood the key server`);
  } finally {
    await server.stop();
    keys.close();
  }
});

test("one address opens HANDSHAKES_PER_IP streams a second behind a trusted proxy, whatever it claims before; others are free", async () => {
  const server = await instance(db.url, {
    env: { TRUST_PROXY: "1", HANDSHAKES_PER_IP: "4", MAX_STREAMS_PER_USER: "50" },
  });
  try {
    const headers = await server.auth(1);
    const from = async (forwarded: string): Promise<unknown> => {
      const client = await socket(`${server.ws}/ws/notifications/`, {
        headers: { ...headers, "x-forwarded-for": forwarded },
      });
      return outcome(client);
    };
    const flood = await Promise.all(Array.from({ length: 14 }, (_, at) => from(`10.9.9.${at}, 203.0.113.7`)));
    const opened = flood.filter((one) => one === "open").length;
    assert.ok(opened >= 4 && opened <= 8, `${opened} of 14 were opened`);
    assert.is(flood.filter((one) => one === 4429).length, 14 - opened);
    assert.is(await from("203.0.113.8"), "open");
    const stream = await sse(`${server.url}/sse/notifications/`, { ...headers, "x-forwarded-for": "203.0.113.9" });
    assert.is(stream.status, 200);
  } finally {
    await server.stop();
  }
});

test("without a trusted proxy X-Forwarded-For counts for nothing", async () => {
  const server = await instance(db.url, { env: { TRUST_PROXY: "0", HANDSHAKES_PER_IP: "1" } });
  try {
    const headers = { ...(await server.auth(1)), "x-forwarded-for": "203.0.113.7" };
    for (let at = 0; at < 5; at++) await (await socket(`${server.ws}/ws/notifications/`, { headers })).find("ready");
  } finally {
    await server.stop();
  }
});

test("a user's streams over the limit are refused on both transports together; another user is not touched", async () => {
  const headers = await app.auth(3);
  const open = [
    await socket(`${app.ws}/ws/notifications/`, { headers }),
    await sse(`${app.url}/sse/notifications/`, headers),
    await sse(`${app.url}/sse/notifications/`, headers),
  ];
  for (const each of open) await each.find("ready");
  assert.is((await (await socket(`${app.ws}/ws/notifications/`, { headers })).closed).code, 4409);
  assert.is((await sse(`${app.url}/sse/notifications/`, headers)).status, 429);
  await (await socket(`${app.ws}/ws/notifications/`, { headers: await app.auth(2) })).find("ready");
});

test("no route reads a body over 64 KiB, announced or in chunks without end, and it is told before the body has come", async () => {
  const auth = (await app.auth(1, { scope: "publish" })).authorization;
  const port = Number(new URL(app.url).port);
  for (const [method, path] of [
    ["POST", "/api/publish"],
    ["PUT", "/api/preferences"],
    ["POST", "/api/messages"],
    ["POST", "/api/notifications/read_all"],
  ]) {
    const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${auth}\r\nContent-Type: application/json\r\n`;
    const announced = await rawClient(port, `${head}Content-Length: 100000000\r\n\r\n{"a":"`);
    await new Promise((resolve) => announced.socket.once("data", resolve));
    assert.match(announced.received(), /^HTTP\/1\.1 413 /, path);
    announced.socket.destroy();
    const chunked = await rawClient(port, `${head}Transfer-Encoding: chunked\r\n\r\n`);
    const piece = `4000\r\n${"x".repeat(0x4000)}\r\n`;
    for (let at = 0; at < 5; at++) chunked.socket.write(piece);
    await new Promise((resolve) => chunked.socket.once("data", resolve));
    assert.match(chunked.received(), /^HTTP\/1\.1 413 /, path);
    chunked.socket.destroy();
  }
  assert.is((await fetch(`${app.url}/healthz`)).status, 200);
});

test("revoking closes chat streams too, on WebSocket and SSE", async () => {
  const headers = await app.auth(2);
  const client = await socket(`${app.ws}/ws/chat/group/${room}/`, { headers });
  const stream = await sse(`${app.url}/sse/chat/group/${room}/`, headers);
  for (const each of [client, stream]) await each.find("ready");
  await db.sql`select tidings.revoke(2)`;
  assert.is((await client.closed).code, 4401);
  assert.is(await stream.ended, true);
  assert.is((await sse(`${app.url}/sse/chat/group/${room}/`, headers)).status, 401);
  assert.is((await (await socket(`${app.ws}/ws/chat/group/${room}/`, { headers })).closed).code, 4401);
});

test.run();
