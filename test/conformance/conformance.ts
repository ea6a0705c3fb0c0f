/**
 * What every runtime must do alike, as a black box: the server is a process, and these are its clients. Each runtime's
 * test file names the command that runs the sources and nothing else.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, socket, sse, strictSocket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { SECRET, token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";

const WS = "/ws/notifications/";
const SSE = "/sse/notifications/";
const HOSTILE: readonly [string, string][] = [
  ["an upgrade of an unknown path", upgradeRequest("/nowhere")],
  ["an upgrade of //", upgradeRequest("//")],
  ["an upgrade of http://[", upgradeRequest("http://[")],
  ["Upgrade: h2c", upgradeRequest(WS, { Upgrade: "h2c" })],
  ["an upgrade without a key", upgradeRequest(WS, { "Sec-WebSocket-Key": null })],
  ["half a request", `GET ${WS} HTTP/1.1\r\nHost: x\r\nUpgra`],
];

/** Registers the suite. @param runtime the program, with its options, that runs a TypeScript source */
export function conformance(name: string, runtime: readonly string[]): void {
  const test = suite(name);
  let db: TestDatabase;
  let server: Cli;
  let http: string;
  let ws: string;

  async function start(): Promise<void> {
    server = tidings(
      ["serve"],
      { DATABASE_URL: db.url, JWT_SECRET: SECRET, DOMAIN: "off", DRAIN_SECONDS: "1" },
      runtime,
    );
    http = await server.url;
    ws = http.replace("http", "ws");
  }

  async function store(user: number, message: string): Promise<void> {
    await db.sql`select tidings.send_notification(${String(user)}::text, 'Title', ${message}, 'note')`;
  }

  async function serves(): Promise<void> {
    const client = await strictSocket(`${ws}${WS}?token=${await token(99)}`);
    await client.find("ready");
    client.close();
  }

  test.before(async () => {
    db = await database({ domain: false });
    await start();
  });
  test.after.each(() => closeClients());
  test.after(async () => {
    await endAll();
    await db.drop();
  });

  test("a token is taken from every place, on both transports", async () => {
    const jwt = await token(1);
    const bearer = { authorization: `Bearer ${jwt}` };
    const { ticket } = await (await fetch(`${http}/api/tickets`, { method: "POST", headers: bearer })).json();
    const sockets = [
      strictSocket(ws + WS, { protocols: [jwt] }),
      strictSocket(ws + WS, { protocols: ["bearer", jwt] }),
      strictSocket(ws + WS, { protocols: ["tidings.v1", `bearer.${jwt}`] }),
      socket(ws + WS, { headers: bearer }),
      socket(ws + WS, { headers: { cookie: `access=${jwt}` } }),
      socket(`${ws}${WS}?ticket=${ticket}`),
      socket(`${ws}${WS}?token=${jwt}`),
    ];
    const streams = [
      sse(http + SSE, bearer),
      sse(http + SSE, { cookie: `access=${jwt}` }),
      sse(`${http}${SSE}?token=${jwt}`),
    ];
    for (const client of await Promise.all([...sockets, ...streams])) {
      assert.is((await client.find("ready")).data?.user_id, 1);
    }
  });

  test("a refused socket is accepted and closed with 4401, a refused SSE request gets 401", async () => {
    for (const client of [
      await strictSocket(ws + WS),
      await strictSocket(ws + WS, { protocols: ["bearer", "nonsense"] }),
      await strictSocket(ws + WS, { protocols: [await token(1, {}, -3_600)] }),
    ]) {
      assert.is((await client.closed).code, 4401);
    }
    assert.is((await fetch(http + SSE)).status, 401);
    const foreign = await fetch(http + SSE, {
      headers: { origin: "https://evil.example", cookie: `access=${await token(1)}` },
    });
    assert.is(foreign.status, 403);
  });

  test("the subprotocol that is no token is selected, with and without a space after the comma", async () => {
    const jwt = await token(1);
    for (const offer of [`tidings.v1, bearer.${jwt}`, `tidings.v1,bearer.${jwt}`, `bearer.${jwt},tidings.v1`]) {
      const client = await rawClient(
        Number(new URL(http).port),
        upgradeRequest(WS, { "Sec-WebSocket-Protocol": offer }),
      );
      await eventually(() => assert.match(client.received(), /\r\n\r\n/));
      assert.match(client.received(), /^HTTP\/1\.1 101 /);
      assert.match(client.received(), /^sec-websocket-protocol: tidings\.v1\r$/im);
      client.socket.destroy();
    }
  });

  test("both transports resume where they were, and hear what comes then", async () => {
    for (const message of ["one", "two", "three"]) await store(2, message);
    const jwt = await token(2);
    const clients = [
      await strictSocket(`${ws}${WS}?last_event_id=1`, { protocols: ["tidings.v1", `bearer.${jwt}`] }),
      await sse(http + SSE, { authorization: `Bearer ${jwt}`, "last-event-id": "1" }),
    ];
    for (const client of clients) await client.find("unread_count");
    await store(2, "four");
    for (const client of clients) {
      await eventually(() => assert.is(client.all("notification").length, 3));
      assert.equal(
        client.all("notification").map((frame) => frame.id),
        [2, 3, 4],
      );
    }
  });

  test("a ping is answered, a bad frame is an error, a huge one ends the socket and nothing else", async () => {
    const client = await strictSocket(`${ws}${WS}?token=${await token(3)}`);
    client.send({ type: "ping" });
    await client.find("pong");
    client.send("nonsense");
    assert.is((await client.find("error")).data?.code, "bad_request");
    client.send("x".repeat(100_000));
    assert.ok([1006, 1009].includes((await client.closed).code));
    await serves();
  });

  for (const [what, text] of HOSTILE) {
    test(`${what}, then a reset, leaves the server serving`, async () => {
      const client = await rawClient(Number(new URL(http).port), text);
      await new Promise((resolve) => setTimeout(resolve, 50));
      client.socket.resetAndDestroy();
      await serves();
    });
  }

  test("a client that stops reading gets everything once it reads again", async () => {
    const jwt = await token(4);
    const port = Number(new URL(http).port);
    const slow = await rawClient(port, `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    await eventually(() => assert.match(slow.received(), /ready/));
    slow.socket.pause();
    await db.sql`select tidings.send_notification('4', 't', repeat('x', 5000), 'big') from generate_series(1, 2000)`;
    await serves();
    slow.socket.resume();
    await eventually(() => assert.match(slow.received(), /^id: 2000\r?$/m), { deadlineMs: 20_000 });
    const ids = [...slow.received().matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]));
    assert.equal(
      ids.filter((id) => id > 0),
      Array.from({ length: 2_000 }, (_, at) => at + 1),
    );
    slow.socket.destroy();
  });

  test("SIGTERM drains: 1012 on sockets, the end on SSE, exit 0; what came meanwhile is there afterwards", async () => {
    const jwt = await token(5);
    const client = await strictSocket(`${ws}${WS}?token=${jwt}`);
    const stream = await sse(http + SSE, { authorization: `Bearer ${jwt}` });
    await Promise.all([client.find("ready"), stream.find("ready")]);
    server.kill("SIGTERM");
    assert.is((await client.closed).code, 1012);
    assert.equal(await server.exited, { code: 0, signal: null });
    await store(5, "meanwhile");
    await start();
    const again = await strictSocket(`${ws}${WS}?last_event_id=0&token=${jwt}`);
    assert.is((await again.find("notification")).id, 1);
  });

  test.run();
}
