// @timeout 60
/**
 * What a server says, at its most talkative and with failures: JSON lines that name each request by its id and path, and
 * no token, ticket or password, whole or in part, in the log, on standard output, in the metrics or in any answer.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cli, endAll, tidings } from "../helpers/cli.ts";
import { closeClients, socket, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { SECRET, token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";

const test = suite("logs");
let db: TestDatabase;
let server: Cli;
let url: string;

test.before(async () => {
  db = await database({ domain: true });
  server = tidings(["serve"], { DATABASE_URL: db.url, JWT_SECRET: SECRET, LOG_LEVEL: "trace", DRAIN_SECONDS: "0" });
  url = await server.url;
});
test.after(async () => {
  await endAll();
  await db?.drop();
});

interface Line {
  level: number;
  msg: string;
  [field: string]: unknown;
}

const lines = (): Line[] =>
  server
    .stderr()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));

test("each request is one line with the id that its answer carries, its path without the query, status and time", async () => {
  const headers = { authorization: `Bearer ${await token(1)}` };
  const answer = await fetch(`${url}/api/notifications?limit=3&type=hidden`, { headers });
  const id = answer.headers.get("x-request-id");
  const line = (await eventually(() => lines().find(({ request_id }) => request_id === id) ?? null))!;
  assert.equal(
    [line.level, line.msg, line.method, line.path, line.status],
    [20, "request", "GET", "/api/notifications", 200],
  );
  assert.type(line.ms, "number");
  assert.not.match(JSON.stringify(lines()), "hidden");
});

test("no token, ticket or password is anywhere in log, output, metrics or answers, wherever it stood and whatever failed", async () => {
  const secrets: string[] = [SECRET, Buffer.from(SECRET).toString("base64url"), new URL(db.url).password].filter(
    Boolean,
  );
  const answers: string[] = [];
  const fresh = async (claims: Record<string, unknown> = {}): Promise<string> => {
    const made = await token(1, { jti: `j${secrets.length}`, ...claims });
    secrets.push(...made.split(".").slice(1));
    return made;
  };
  const bad = async (): Promise<string> => `${(await fresh()).slice(0, -6)}AAAAAA`;
  const ask = async (path: string, init: RequestInit = {}): Promise<string> => {
    const response = await fetch(url + path, { redirect: "manual", ...init });
    const text = await response.text();
    if (path !== "/api/tickets") answers.push(text, JSON.stringify([...response.headers]));
    return text;
  };
  const ticket = async (): Promise<string> => {
    const bought = JSON.parse(
      await ask("/api/tickets", { method: "POST", headers: { authorization: `Bearer ${await fresh()}` } }),
    );
    secrets.push(bought.ticket);
    return bought.ticket;
  };
  const ws = url.replace("http", "ws");
  for (const make of [fresh, bad]) {
    const opened = [
      await socket(`${ws}/ws/notifications/`, { protocols: ["tidings.v1", `bearer.${await make()}`] }),
      await socket(`${ws}/ws/notifications/`, { protocols: ["bearer", await make()] }),
      await socket(`${ws}/ws/notifications/?token=${await make()}`),
      await socket(`${ws}/ws/notifications/`, { headers: { authorization: `Bearer ${await make()}` } }),
      await socket(`${ws}/ws/notifications/`, { headers: { cookie: `access=${await make()}` } }),
      await socket(`${ws}/ws/chat/room/7/?token=${await make()}`),
      await socket(`${ws}/ws/notifications/?ticket=${await ticket()}`),
      await socket(`${ws}/ws/notifications/?ticket=${await make()}`),
    ];
    await sse(`${url}/sse/notifications/?token=${await make()}`).then((stream) => stream.close());
    await sse(`${url}/sse/notifications/?ticket=${await ticket()}`).then((stream) => stream.close());
    const [first] = opened;
    if (make === fresh) {
      await first!.find("ready");
      for (const next of [fresh, bad]) first!.send({ type: "auth", token: await next() });
      first!.send({ type: "unheard", token: await fresh() });
      first!.send(`{"type":"auth","token":"${await fresh()}"`);
      await first!.find("error");
    }
    for (const each of opened) answers.push(JSON.stringify(each.frames));
    closeClients();
    for (const path of [
      "/api/inbox",
      "/api/nothing",
      "/metrics",
      "/status",
      `/api/notifications/${await make()}/read`,
      `/${await make()}`,
    ]) {
      await ask(path, { headers: { authorization: `Bearer ${await make()}` } });
      await ask(`${path}?token=${await make()}&access_token=${await make()}`);
      await ask(path, {
        method: "POST",
        headers: { cookie: `access=${await make()}`, origin: "https://evil.example" },
      });
    }
    const json = { "content-type": "application/json" };
    const body = JSON.stringify({ token: await make(), to: { group: "x" }, message: "m" });
    await ask("/api/publish", {
      method: "POST",
      headers: { ...json, authorization: `Bearer ${await fresh({ scope: "publish" })}` },
      body,
    });
    await ask("/api/messages", {
      method: "POST",
      headers: { ...json, authorization: `Bearer ${await make()}` },
      body: `{"token":"${await make()}"`,
    });
  }
  const port = Number(new URL(url).port);
  for (const text of [
    upgradeRequest(`/ws/nothing?token=${await fresh()}`),
    upgradeRequest(`//?token=${await fresh()}`, { "Sec-WebSocket-Version": "1" }),
    upgradeRequest("/ws/notifications/", {
      "Sec-WebSocket-Protocol": `bearer,,, ${await fresh()}`,
      "Sec-WebSocket-Key": "x",
    }),
    `GET /api/inbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await fresh()}\r\nBroken Header\r\n\r\n`,
  ]) {
    const client = await rawClient(port, text);
    await Promise.race([client.ended, new Promise((resolve) => client.socket.once("data", resolve))]);
    answers.push(client.received());
    client.socket.destroy();
  }
  await failures(fresh, ask);
  const metrics = await ask("/metrics", { headers: { authorization: `Bearer ${await fresh({ scope: "metrics" })}` } });
  assert.match(metrics, "tidings_streams");
  assert.ok(
    lines().some(({ level }) => level >= 50),
    "a failure was logged as one",
  );
  assert.ok(secrets.length > 80, `only ${secrets.length} secrets were used`);
  const said = [server.stdout(), server.stderr(), ...answers].join("\n");
  for (const secret of secrets)
    assert.not.ok(
      said.includes(secret),
      `${secret} at ${said.slice(Math.max(0, said.indexOf(secret) - 200), said.indexOf(secret) + 50)}`,
    );
});

/** Takes tables and connections away under requests that carry tokens. */
async function failures(
  fresh: () => Promise<string>,
  ask: (path: string, init?: RequestInit) => Promise<string>,
): Promise<void> {
  const init = async (method = "GET"): Promise<RequestInit> => ({
    method,
    headers: { authorization: `Bearer ${await fresh()}` },
  });
  await db.sql`alter table tidings.ticket rename to ticket_away`;
  await db.sql`alter table tidings.preference rename to preference_away`;
  await ask("/api/tickets", await init("POST"));
  await ask(`/sse/notifications/?ticket=${(await fresh()).slice(-40)}`);
  await ask("/api/preferences", await init());
  await db.sql`alter table tidings.ticket_away rename to ticket`;
  await db.sql`alter table tidings.preference_away rename to preference`;
  await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'tidings test'`;
  await Promise.all([
    ask("/api/inbox", await init()),
    ask("/api/tickets/", await init()),
    ask(`/sse/notifications/?ticket=${(await fresh()).slice(-40)}`),
  ]);
  await eventually(async () => assert.is((await fetch(`${url}/readyz`)).status, 200), { deadlineMs: 15_000 });
}

test("a failure is logged with its request's id and its cause, and the answer tells neither", async () => {
  await db.sql`alter table tidings.preference rename to preference_away`;
  try {
    const answer = await fetch(`${url}/api/preferences`, { headers: { authorization: `Bearer ${await token(1)}` } });
    assert.is(answer.status, 500);
    assert.not.match(await answer.text(), /preference|relation/);
    const id = answer.headers.get("x-request-id");
    const line = (await eventually(
      () => lines().find(({ request_id, level }) => request_id === id && level === 50) ?? null,
    ))!;
    assert.match((line.err as { message: string }).message, 'relation "tidings.preference" does not exist');
    assert.equal([line.method, line.path], ["GET", "/api/preferences"]);
  } finally {
    await db.sql`alter table tidings.preference_away rename to preference`;
  }
});

test.run();
