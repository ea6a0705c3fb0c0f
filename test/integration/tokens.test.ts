/**
 * Who may open a stream or ask the API: every place a token can stand in, in its order, on all three ways in; what
 * refuses it; expiry, renewal, tickets and revocation on streams that are open.
 */
import { base64url } from "jose";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, HandshakeRefused, type SocketClient, socket, sse, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance, SECRET, token } from "../helpers/instance.ts";
import { rawToken, soon } from "../helpers/jwt.ts";
import { store } from "../helpers/streams.ts";

const test = suite("tokens");
const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
const BAD = "eyJhbGciOiJIUzI1NiJ9.e30.AAAA";
let db: TestDatabase;
let app: Instance;
let twin: Instance;
let users = 1_000;

test.before(async () => {
  db = await database({ domain: false });
  const env = { DOMAIN: "off", ALLOWED_ORIGINS: "https://app.example" };
  [app, twin] = await Promise.all([instance(db.url, { env }), instance(db.url, { env })]);
});
test.after.each(closeClients);
test.after(async () => {
  await Promise.all([app?.stop(), twin?.stop()]);
  await db?.drop();
});

async function ticketFor(user: number, on: Instance = app): Promise<string> {
  const response = await fetch(`${on.url}/api/tickets`, { method: "POST", headers: await on.auth(user) });
  assert.is(response.status, 201);
  const body = (await response.json()) as { ticket: string; expires_in: number };
  assert.is(body.expires_in, 30);
  return body.ticket;
}

/** The user a socket was opened as, or the code it was refused with. */
function seen(client: SocketClient): Promise<unknown> {
  return client.find("ready").then(
    (frame) => frame.data?.user_id,
    async () => (await client.closed).code,
  );
}

async function seenSse(query: string, headers: Record<string, string>): Promise<unknown> {
  const client = await sse(app.url + SSE + query, headers);
  return client.status === 200 ? (await client.find("ready")).data?.user_id : client.status;
}

async function restStatus(on: Instance, headers: Record<string, string>, path = "/api/inbox"): Promise<number> {
  return (await fetch(on.url + path, { headers })).status;
}

test("a strict client may offer its token in each subprotocol form, and one of its offers is selected", async () => {
  const jwt = await token(1);
  const forms: [string[], string][] = [
    [["tidings.v1", `bearer.${jwt}`], "tidings.v1"],
    [["bearer", jwt], "bearer"],
    [["tidings.v1", "bearer", jwt], "tidings.v1"],
    [["tidings.v1", jwt], "tidings.v1"],
    [[jwt, "access_token"], "access_token"],
    [[jwt], jwt],
  ];
  for (const [protocols, selected] of forms) {
    for (const connect of [strictSocket, socket]) {
      const client = await connect(app.ws + WS, { protocols });
      assert.is(client.protocol, selected);
      assert.is(await seen(client), 1);
    }
  }
});

test("a socket's token counts in this order: subprotocol, Authorization, cookie, ticket, query", async () => {
  const [first, second, third, fifth] = await Promise.all([1, 2, 3, 5].map((user) => token(user)));
  const places: [string, { protocols?: string[]; headers: Record<string, string>; query: string }][] = [];
  const all = {
    protocols: ["bearer", first!],
    headers: { authorization: `Bearer ${second}`, cookie: `theme=dark; access=${third}` },
  };
  const { authorization, cookie } = all.headers;
  places.push(["subprotocol", { ...all, query: "" }]);
  places.push(["authorization", { headers: { authorization, cookie }, query: `token=${fifth}` }]);
  places.push(["cookie", { headers: { cookie }, query: `ticket=${await ticketFor(4)}&token=${fifth}` }]);
  places.push(["ticket", { headers: {}, query: `token=${fifth}&ticket=${await ticketFor(4)}` }]);
  places.push(["query", { headers: {}, query: `token=${fifth}` }]);
  for (const [at, [place, { query, ...options }]] of places.entries()) {
    assert.is(await seen(await socket(`${app.ws}${WS}?${query}`, options)), at + 1, place);
  }
});

test("for SSE: Authorization, cookie, ticket, query; for REST: Authorization, else the cookie, and no query", async () => {
  const [second, third, fifth] = await Promise.all([2, 3, 5].map((user) => token(user)));
  const headers = { authorization: `Bearer ${second}`, cookie: `access=${third}` };
  const { authorization, cookie } = headers;
  assert.is(await seenSse(`?token=${fifth}`, headers), 2);
  assert.is(await seenSse(`?ticket=${await ticketFor(4)}&token=${fifth}`, { cookie }), 3);
  assert.is(await seenSse(`?ticket=${await ticketFor(4)}&token=${fifth}`, {}), 4);
  assert.is(await seenSse(`?token=${fifth}`, {}), 5);
  await store(db.sql, 2, { message: "for 2" });
  await store(db.sql, 3, { message: "for 3" });
  const first = async (with_: Record<string, string>): Promise<unknown> => {
    const response = await fetch(`${app.url}/api/notifications`, { headers: with_ });
    return ((await response.json()) as { items: { message: string }[] }).items[0]?.message;
  };
  assert.is(await first({ authorization, cookie }), "for 2");
  assert.is(await first({ cookie }), "for 3");
  assert.is(await restStatus(app, {}, `/api/inbox?token=${fifth}`), 401);
});

test("a bad token in the subprotocol or Authorization decides; a bad cookie falls through to what follows", async () => {
  const good = await token(5);
  const query = `?token=${good}`;
  assert.is(await seen(await strictSocket(app.ws + WS + query, { protocols: ["tidings.v1", `bearer.${BAD}`] })), 4401);
  assert.is(await seen(await strictSocket(app.ws + WS + query, { protocols: [BAD] })), 4401);
  assert.is(await seen(await socket(app.ws + WS + query, { headers: { authorization: `Bearer ${BAD}` } })), 4401);
  assert.is(await seen(await socket(app.ws + WS + query, { headers: { cookie: `access=${BAD}` } })), 5);
  assert.is(await seenSse(query, { authorization: `Bearer ${BAD}` }), 401);
  assert.is(await seenSse(query, { cookie: `access=${BAD}` }), 5);
  assert.is(await seenSse(`?ticket=nonsense&token=${good}`, {}), 401);
  const cookie = `access=${good}`;
  assert.is(await restStatus(app, { authorization: `Bearer ${BAD}`, cookie }), 401);
});

const REFUSED: readonly [string, () => Promise<string>][] = [
  ["no token", async () => ""],
  ["nonsense", async () => "nonsense"],
  ["a wrong signature", async () => `${(await token(1)).slice(0, -4)}AAAA`],
  ["another secret", async () => rawToken('{"alg":"HS256"}', `{"user_id":1,"exp":${soon()}}`, "another secret")],
  ["an expired token", () => token(1, {}, -31)],
  ["alg none", async () => rawToken('{"alg":"none"}', `{"user_id":1,"exp":${soon()}}`)],
  ["no exp", async () => rawToken('{"alg":"HS256"}', '{"user_id":1}', SECRET)],
  ["a refresh token", () => token(1, { token_type: "refresh" })],
  ["no user", async () => rawToken('{"alg":"HS256"}', `{"exp":${soon()}}`, SECRET)],
  ["a token of 9 KiB", () => token(1, { filler: "x".repeat(9_000) })],
];
for (const [name, make] of REFUSED) {
  test(`${name} is refused: 4401 on a socket that a strict client sees, 401 on SSE and REST`, async () => {
    const bad = await make();
    const client = await strictSocket(`${app.ws}${WS}?token=${bad}`);
    const { code, reason } = await client.closed;
    assert.is(code, 4401);
    assert.ok(reason.length > 10, "the reason says what to do");
    assert.equal(client.outline(), []);
    assert.is(await seenSse(`?token=${bad}`, {}), 401);
    const headers: Record<string, string> = bad ? { authorization: `Bearer ${bad}` } : {};
    assert.is(await restStatus(app, headers), 401);
  });
}

test('ready has the user id as the claim came, sub stands in for user_id, and 7 and "7" are one user', async () => {
  const claims: [Record<string, unknown>, unknown][] = [
    [{ user_id: 7 }, 7],
    [{ user_id: "7" }, "7"],
    [{ user_id: undefined, sub: "7" }, "7"],
    [{ user_id: 7, sub: "somebody else" }, 7],
    [{ user_id: "ünï-k/ö de" }, "ünï-k/ö de"],
  ];
  const clients: SocketClient[] = [];
  for (const [claim, shown] of claims) {
    const client = await socket(app.ws + WS, { headers: await app.auth(1, claim) });
    assert.is(await seen(client), shown);
    clients.push(client);
  }
  await store(db.sql, 7);
  for (const client of clients.slice(0, 4)) await client.find("notification");
  assert.equal(clients[4]?.outline(), ["ready"]);
});

test("a page of a foreign origin gets 403 before any upgrade; an allowed one, our own host and no Origin pass", async () => {
  const headers = await app.auth(1);
  for (const origin of ["https://evil.example", "null", "https://app.example.evil.example", "http://app.example"]) {
    const refused = await socket(app.ws + WS, { headers: { ...headers, origin } }).catch((error: unknown) => error);
    assert.instance(refused, HandshakeRefused, origin);
    assert.is((refused as HandshakeRefused).status, 403);
  }
  for (const origin of ["https://app.example", app.url]) {
    assert.is(await seen(await socket(app.ws + WS, { headers: { ...headers, origin } })), 1);
  }
  assert.is(await seen(await socket(app.ws + WS, { headers })), 1);
});

test("under * a foreign page may bring a token, but the cookie its browser sends along counts for nothing", async () => {
  const any = await instance(db.url, { env: { DOMAIN: "off", ALLOWED_ORIGINS: "*" } });
  try {
    const origin = "https://anywhere.example";
    const cookie = `access=${await token(3)}`;
    const withToken = `${any.ws}${WS}?token=${await token(1)}`;
    assert.is(await seen(await socket(withToken, { headers: { origin, cookie } })), 1);
    const refused = await socket(any.ws + WS, { headers: { origin, cookie } }).catch((error: unknown) => error);
    assert.is((refused as HandshakeRefused).status, 403);
    const write = { method: "POST", headers: { origin, cookie, "content-type": "application/json" }, body: "{}" };
    assert.is((await fetch(`${any.url}/api/notifications/read_all`, write)).status, 403);
  } finally {
    await any.stop();
  }
});

test("when its token expires an open socket is closed with 4401 and an event stream ends; others stay", async () => {
  const user = ++users;
  const short = { authorization: `Bearer ${await token(user, {}, 2)}` };
  const client = await strictSocket(app.ws + WS, { headers: short });
  const stream = await sse(app.url + SSE, short);
  const lasting = await socket(app.ws + WS, { headers: await app.auth(user) });
  await Promise.all([client, stream, lasting].map((each) => each.find("ready")));
  const closed = await client.closed;
  assert.equal(closed, { code: 4401, reason: "token expired" });
  assert.is(await stream.ended, true);
  assert.equal(stream.outline(), ["ready"]);
  await store(db.sql, user);
  await lasting.find("notification");
});

test("a token renewed in place keeps the socket past the first expiry", async () => {
  const user = ++users;
  const client = await socket(app.ws + WS, { headers: { authorization: `Bearer ${await token(user, {}, 2)}` } });
  await client.find("ready");
  client.send({ type: "auth", token: await token(user, {}, 600) });
  const renewed = await client.find("auth");
  assert.match(String(renewed.data?.expires_at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z$/);
  const seconds = (Date.parse(String(renewed.data?.expires_at)) - Date.now()) / 1_000;
  assert.ok(seconds > 590 && seconds <= 600);
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  client.send("ping");
  await client.find("pong");
});

test("a renewal with another user's token closes with 4403", async () => {
  const client = await socket(app.ws + WS, { headers: await app.auth(1) });
  await client.find("ready");
  client.send({ type: "auth", token: await token(2) });
  assert.is((await client.closed).code, 4403);
});

test("a renewal with a bad token is an error, and the old expiry stands", async () => {
  const user = ++users;
  const client = await socket(app.ws + WS, { headers: { authorization: `Bearer ${await token(user, {}, 2)}` } });
  await client.find("ready");
  client.send({ type: "auth", token: BAD });
  const error = await client.find("error");
  assert.is(error.data?.code, "unauthenticated");
  assert.not.match(JSON.stringify(error), BAD);
  assert.is((await client.closed).code, 4401);
});

test("a ticket opens one stream, once, on whichever instance; a second use is refused", async () => {
  const ticket = await ticketFor(4);
  assert.is(await seen(await strictSocket(`${twin.ws}${WS}?ticket=${ticket}`)), 4);
  assert.is(await seen(await strictSocket(`${app.ws}${WS}?ticket=${ticket}`)), 4401);
  assert.is(await seenSse(`?ticket=${ticket}`, {}), 401);
  assert.is(await seenSse(`?ticket=${await ticketFor(4)}`, {}), 4);
});

test("of ten streams racing with one ticket on two instances exactly one is opened", async () => {
  for (let round = 0; round < 3; round++) {
    const ticket = await ticketFor(4);
    const racers = Array.from({ length: 10 }, async (_, at) => {
      const { ws } = at % 2 ? app : twin;
      return seen(await socket(`${ws}${WS}?ticket=${ticket}`));
    });
    const results = await Promise.all(racers);
    assert.is(results.filter((result) => result === 4).length, 1);
    assert.is(results.filter((result) => result === 4401).length, 9);
  }
});

test("a ticket's stream keeps the expiry of the token it was bought with", async () => {
  const short = { authorization: `Bearer ${await token(++users, {}, 2)}` };
  const bought = await fetch(`${app.url}/api/tickets`, { method: "POST", headers: short });
  const { ticket } = (await bought.json()) as { ticket: string };
  const client = await strictSocket(`${app.ws}${WS}?ticket=${ticket}`);
  await client.find("ready");
  assert.equal(await client.closed, { code: 4401, reason: "token expired" });
});

test("a ticket past its 30 seconds is refused, and no ticket is stored as it is", async () => {
  const ticket = await ticketFor(4);
  const stored = await db.sql`select t::text as row from tidings.ticket t`;
  assert.not.ok(stored.some(({ row }) => String(row).includes(ticket)));
  await db.sql`update tidings.ticket set expires_at = now() - interval '1 second'`;
  assert.is(await seen(await strictSocket(`${app.ws}${WS}?ticket=${ticket}`)), 4401);
});

test("revoking ends the user's streams on both instances with 4401, and what was issued before is refused everywhere", async () => {
  const user = ++users;
  const iat = Math.floor(Date.now() / 1_000);
  const old = await app.auth(user, { iat });
  const ticket = await ticketFor(user);
  const sockets = await Promise.all([app, twin].map((each) => strictSocket(each.ws + WS, { headers: old })));
  const streams = await Promise.all([app, twin].map((each) => sse(each.url + SSE, old)));
  const bystander = await socket(app.ws + WS, { headers: await app.auth(++users) });
  await Promise.all([...sockets, ...streams, bystander].map((each) => each.find("ready")));
  await db.sql`select tidings.revoke(${user}::bigint)`;
  for (const { closed } of sockets) assert.is((await closed).code, 4401);
  for (const { ended } of streams) assert.is(await ended, true);
  for (const each of [app, twin]) {
    assert.is(await restStatus(each, old), 401);
    assert.is((await fetch(`${each.url}/api/tickets`, { method: "POST", headers: old })).status, 401);
    assert.is(await seen(await strictSocket(each.ws + WS, { headers: old })), 4401);
    assert.is((await sse(each.url + SSE, old)).status, 401);
    assert.is(await seen(await strictSocket(`${each.ws}${WS}?ticket=${ticket}`)), 4401);
  }
  const ageless = await rawToken('{"alg":"HS256"}', `{"user_id":${user},"exp":${soon()}}`, SECRET);
  assert.is(await restStatus(app, { authorization: `Bearer ${ageless}` }), 401, "without iat it counts as old");
  bystander.send("ping");
  await bystander.find("pong");
  const fresh = await app.auth(user, { iat: iat + 2 });
  assert.is(await restStatus(app, fresh), 200);
  const again = await socket(app.ws + WS, { headers: fresh });
  assert.is(await seen(again), user);
  again.send({ type: "auth", token: old.authorization.slice(7) });
  assert.is((await again.find("error")).data?.code, "unauthenticated");
});

test("a revocation that is rolled back revokes nothing", async () => {
  const user = ++users;
  const client = await socket(app.ws + WS, { headers: await app.auth(user) });
  await client.find("ready");
  await db.sql
    .begin(async (sql) => {
      await sql`select tidings.revoke(${user}::bigint)`;
      throw new Error("rolled back");
    })
    .catch(() => {});
  await store(db.sql, user);
  await client.find("notification");
  assert.is(await restStatus(app, await app.auth(user)), 200);
});

test("no part of any token is in the log", async () => {
  const parts = (await token(1)).split(".");
  for (const line of [...app.log, ...twin.log]) {
    assert.not.match(line, parts[0]!);
    assert.not.match(line, base64url.encode(SECRET));
    assert.not.match(line, BAD);
  }
});

test.run();
