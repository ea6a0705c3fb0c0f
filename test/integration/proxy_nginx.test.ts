/**
 * The server behind nginx, set up as README.md says: sockets and their close codes, event streams as they are written,
 * stuck and idle ones, whose address counts, which page may open a stream, and a server that is down.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { closeClients, HandshakeRefused, type SocketClient, socket, sse, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { documented, NGINX, type Nginx, nginx } from "../helpers/nginx.ts";
import { rawClient } from "../helpers/raw.ts";
import { store } from "../helpers/streams.ts";

const SSE = "/sse/notifications/";
const WS = "/ws/notifications/";
const BEAT_MS = 500;
const READ_TIMEOUT_MS = 4 * BEAT_MS;

let db: TestDatabase;
let app: Instance;
let beating: Instance;
let proxy: Nginx<keyof ReturnType<typeof sites>>;
let users = 100;

const sites = () => {
  const hasty = { "proxy_read_timeout 75s;": `proxy_read_timeout ${READ_TIMEOUT_MS}ms;` };
  return {
    front: { upstream: app.url },
    // On one machine every client is on loopback, which has no limit: a header says what nginx is to take for its peer.
    addressed: { upstream: app.url, server: "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Peer;" },
    /** As where nginx ends TLS. */
    secure: { upstream: app.url, replace: { $scheme: "https" } },
    hasty: { upstream: beating.url, replace: hasty },
    hastySilent: { upstream: app.url, replace: hasty },
    beating: { upstream: beating.url },
    down: { upstream: "http://127.0.0.1:1" },
  };
};

/** A suite whose tests are skipped where there is no nginx. */
const real = suite("behind nginx");
const test: (title: string, run: () => Promise<void>) => void = NGINX ? real : (title) => real.skip(title, () => {});
if (!NGINX) console.log("behind nginx: skipped, there is no nginx here (apt-get install nginx-light)");

real.before(async () => {
  if (!NGINX) return;
  db = await database({ domain: false });
  const env = { DOMAIN: "off", TRUST_PROXY: "1", HANDSHAKES_PER_IP: "2" };
  app = await instance(db.url, { env });
  beating = await instance(db.url, {
    env,
    timing: { heartbeatMs: BEAT_MS, pongMs: BEAT_MS / 2, sseHeartbeatMs: BEAT_MS, stuckMs: 1_000 },
  });
  proxy = await nginx(sites());
});
real.after.each(closeClients);
real.after(async () => {
  await proxy?.stop();
  await app?.stop();
  await beating?.stop();
  await db?.drop();
});

const ws = (url: string): string => url.replace("http", "ws") + WS;
const bearer = async (user: number): Promise<string[]> => ["tidings.v1", `bearer.${await token(user)}`];

async function elapsed(act: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await act();
  return performance.now() - from;
}

test("a WebSocket passes with its subprotocol, a ping and a notification", async () => {
  const user = ++users;
  const client = await strictSocket(ws(proxy.urls.front), { protocols: await bearer(user) });
  assert.is(client.protocol, "tidings.v1");
  assert.is((await client.find("ready")).data?.user_id, user);
  client.send({ type: "ping" });
  await client.find("pong");
  await store(db.sql, user, { title: "Through nginx" });
  assert.is((await client.find("notification")).data?.title, "Through nginx");
});

test("a refused token is seen as 4401 by a client as strict as a browser, and as 401 over SSE", async () => {
  const refused = await strictSocket(ws(proxy.urls.front), { protocols: ["tidings.v1", "bearer.a.b.c"] });
  assert.is((await refused.closed).code, 4401);
  assert.is((await sse(proxy.urls.front + SSE, { authorization: "Bearer a.b.c" })).status, 401);
});

test("frames of an event stream arrive as they are written, while the response stays open", async () => {
  const user = ++users;
  const headers = await app.auth(user);
  let client: Awaited<ReturnType<typeof sse>> | undefined;
  const first = await elapsed(async () => {
    client = await sse(proxy.urls.front + SSE, headers);
    await client.find("ready");
  });
  assert.ok(first < 1_000, `the first frame took ${first} ms`);
  const later = await elapsed(async () => {
    await store(db.sql, user);
    await client!.find("notification");
  });
  assert.ok(later < 1_000, `a later frame took ${later} ms`);
  assert.is(await Promise.race([client!.ended, "open"]), "open");
});

test("a client that does not read is not read for: the server sees it stuck, and ends its stream", async () => {
  // More than the sockets on the way hold; where nginx buffers, it takes all of it, into a file, and the server sees nothing.
  const user = ++users;
  await db.sql`select tidings.send_notification(${String(user)}::text, 'Title', repeat(md5(n::text), 1000), 'note')
    from generate_series(1, 800) n`;
  const { host, port } = new URL(proxy.urls.beating);
  const { authorization } = await beating.auth(user);
  const request = `GET ${SSE}?last_event_id=0 HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${authorization}\r\n\r\n`;
  const client = await rawClient(Number(port), request);
  client.socket.pause();
  const headers = await beating.auth(1, { scope: "metrics" });
  await eventually(async () => {
    const metrics = await (await fetch(`${beating.url}/metrics`, { headers })).text();
    return metrics.includes('tidings_closes_total{code="1013"} 1');
  });
  client.socket.destroy();
});

test("the documented timeout is more than twice the heartbeat of either transport", async () => {
  const [, seconds] = /proxy_read_timeout (\d+)s;/.exec(documented().server)!;
  const headers = await app.auth(++users);
  for (const client of [await socket(ws(proxy.urls.front), { headers }), await sse(proxy.urls.front + SSE, headers)]) {
    const heartbeat = Number((await client.find("ready")).data?.heartbeat_seconds);
    assert.ok(heartbeat > 0 && Number(seconds) > 2 * heartbeat, `${seconds} s for a heartbeat of ${heartbeat} s`);
  }
});

test("idle streams live on by their heartbeats, without which nginx ends them", async () => {
  const user = ++users;
  const headers = await app.auth(user);
  const [socketAlive, streamAlive, socketSilent, streamSilent] = await Promise.all([
    socket(ws(proxy.urls.hasty), { headers }),
    sse(proxy.urls.hasty + SSE, headers),
    socket(ws(proxy.urls.hastySilent), { headers }),
    sse(proxy.urls.hastySilent + SSE, headers),
  ]);
  for (const client of [socketAlive, streamAlive, socketSilent, streamSilent]) await client.find("ready");
  const silence = await elapsed(async () => {
    assert.is((await socketSilent.closed).code, 1006);
    assert.is(await streamSilent.ended, false, "cut off");
  });
  assert.ok(silence > READ_TIMEOUT_MS * 0.8, `the silent ones lived for ${silence} ms`);
  await eventually(() => streamAlive.comments.length * BEAT_MS > 2 * READ_TIMEOUT_MS);
  await store(db.sql, user, { title: "Still here" });
  for (const client of [socketAlive, streamAlive]) {
    assert.is((await client.find("notification")).data?.title, "Still here");
  }
});

/** Opens a socket from the TCP address `peer`, claiming to be forwarded for `claimed`: "open", or the close code. */
async function handshake(peer: string, claimed: string): Promise<"open" | number> {
  const headers = { ...(await app.auth(++users)), "x-test-peer": peer, "x-forwarded-for": claimed };
  const client: SocketClient = await socket(ws(proxy.urls.addressed), { headers });
  const ready = client.find("ready").then(() => "open" as const);
  return Promise.race([client.closed.then(({ code }) => code), ready.catch(async () => (await client.closed).code)]);
}

test("an address is limited by what nginx saw, whatever X-Forwarded-For the client made up", async () => {
  const claims = [
    "127.0.0.1",
    "::1",
    "",
    "203.0.113.99, 127.0.0.1",
    ...Array.from({ length: 12 }, (_, n) => `10.0.0.${n}`),
  ];
  let results: ("open" | number)[] = [];
  const ms = await elapsed(async () => {
    results = await Promise.all(claims.map((claimed) => handshake("203.0.113.1", claimed)));
  });
  const opened = results.filter((result) => result === "open").length;
  assert.ok(opened >= 2 && opened <= 2 + Math.ceil((2 * ms) / 1_000), `${opened} opened in ${ms} ms`);
  assert.is(results.filter((result) => result === 4429).length, claims.length - opened, `${results}`);
  assert.is(await handshake("203.0.113.2", "203.0.113.1"), "open", "another address has its own limit");
});

const status = async (url: string, headers: Record<string, string>): Promise<number> => {
  const opened = socket(ws(url), { headers: { cookie: `access=${await token(++users)}`, ...headers } });
  return opened.then(
    async (client) => ((await client.find("ready")) ? 101 : 0),
    (error: unknown) => (error instanceof HandshakeRefused ? error.status : Promise.reject(error)),
  );
};

test("a page of the host and port that nginx serves may open streams, another may not", async () => {
  assert.is(await status(proxy.urls.front, { origin: proxy.urls.front }), 101);
  assert.is(await status(proxy.urls.front, { origin: app.url }), 403, "the server's own port is not what the page has");
  assert.is(await status(proxy.urls.front, { origin: "https://evil.example" }), 403);
  const forged = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" };
  assert.is(await status(proxy.urls.front, { origin: "https://evil.example", ...forged }), 403);
  assert.is(await status(proxy.urls.front, { origin: proxy.urls.front, ...forged }), 101);
  assert.is(await status(proxy.urls.front, { origin: "https://example.com", host: "example.com" }), 101);
  assert.is(await status(proxy.urls.front, { origin: "https://example.com:444", host: "example.com" }), 403);
});

test("where nginx ends TLS, the page served over plain http is another page", async () => {
  const { host } = new URL(proxy.urls.secure);
  assert.is(await status(proxy.urls.secure, { origin: `https://${host}` }), 101);
  assert.is(await status(proxy.urls.secure, { origin: `http://${host}` }), 403);
  assert.is(await status(proxy.urls.secure, { origin: `http://${host}`, "x-forwarded-proto": "http" }), 403);
});

test("while the server is down, an event stream is told to come back and anything else gets a 502", async () => {
  const stream = await sse(proxy.urls.down + SSE);
  assert.is(stream.status, 200);
  assert.is(stream.headers["content-type"], "text/event-stream");
  assert.is(await stream.ended, true);
  assert.is(stream.text(), "retry: 5000\n\n");
  assert.is((await fetch(`${proxy.urls.down}/api/inbox`)).status, 502);
  assert.is(await status(proxy.urls.down, {}), 502);
});

real.run();
