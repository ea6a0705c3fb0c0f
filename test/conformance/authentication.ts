/** A token in every place, in the order that the contract gives them; refusals; and what ends a stream that was open. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { type HandshakeRefused, type SocketOptions, socket, sse, strictSocket } from "../helpers/clients.ts";
import { token } from "../helpers/instance.ts";
import { type Scene, SSE, WS } from "./scene.ts";

export function authentication(test: Test, scene: Scene): void {
  places(test, scene);
  order(test, scene);
  refusals(test, scene);
  ends(test, scene);
}

async function ticket(scene: Scene, jwt: string): Promise<string> {
  const headers = { authorization: `Bearer ${jwt}` };
  const answer = await fetch(`${scene.http}/api/tickets`, { method: "POST", headers });
  return ((await answer.json()) as { ticket: string }).ticket;
}

function places(test: Test, scene: Scene): void {
  test("a token is taken from every place, on both transports", async () => {
    const { http, ws } = scene;
    const jwt = await token(1);
    const bearer = { authorization: `Bearer ${jwt}` };
    const sockets = [
      strictSocket(ws + WS, { protocols: [jwt] }),
      strictSocket(ws + WS, { protocols: ["bearer", jwt] }),
      strictSocket(ws + WS, { protocols: ["tidings.v1", `bearer.${jwt}`] }),
      socket(ws + WS, { headers: bearer }),
      socket(ws + WS, { headers: { cookie: `access=${jwt}` } }),
      socket(`${ws}${WS}?ticket=${await ticket(scene, jwt)}`),
      socket(`${ws}${WS}?token=${jwt}`),
    ];
    const streams = [
      sse(http + SSE, bearer),
      sse(http + SSE, { cookie: `access=${jwt}` }),
      sse(`${http}${SSE}?ticket=${await ticket(scene, jwt)}`),
      sse(`${http}${SSE}?token=${jwt}`),
    ];
    for (const client of await Promise.all([...sockets, ...streams])) {
      assert.is((await client.find("ready")).data?.user_id, 1);
    }
  });
}

function order(test: Test, scene: Scene): void {
  test("a bad token in subprotocol or Authorization decides, a bad cookie falls through", async () => {
    const { http, ws } = scene;
    const good = await token(1);
    const bad = await token(1, {}, -3_600);
    const badFirst: SocketOptions[] = [
      { protocols: [bad], headers: { authorization: `Bearer ${good}` } },
      { headers: { authorization: `Bearer ${bad}`, cookie: `access=${good}` } },
    ];
    for (const options of badFirst) {
      assert.is((await (await socket(`${ws}${WS}?token=${good}`, options)).closed).code, 4401);
    }
    const decided = await sse(`${http}${SSE}?token=${good}`, { authorization: `Bearer ${bad}` });
    assert.is(decided.status, 401);
    const cookie = { cookie: `access=${bad}` };
    await (await socket(`${ws}${WS}?token=${good}`, { headers: cookie })).find("ready");
    await (await sse(`${http}${SSE}?token=${good}`, cookie)).find("ready");
  });

  test("a ticket opens one stream", async () => {
    const { http, ws } = scene;
    const once = await ticket(scene, await token(1));
    await (await strictSocket(`${ws}${WS}?ticket=${once}`)).find("ready");
    assert.is((await (await strictSocket(`${ws}${WS}?ticket=${once}`)).closed).code, 4401);
    assert.is((await sse(`${http}${SSE}?ticket=${once}`)).status, 401);
  });
}

function refusals(test: Test, scene: Scene): void {
  test("a refused socket is accepted and closed with 4401, a refused SSE request gets 401", async () => {
    const { http, ws } = scene;
    for (const client of [
      await strictSocket(ws + WS),
      await strictSocket(ws + WS, { protocols: ["bearer", "nonsense"] }),
      await strictSocket(ws + WS, { protocols: [await token(1, {}, -3_600)] }),
      await strictSocket(`${ws}${WS}?token=nonsense`),
    ]) {
      const { code, reason } = await client.closed;
      assert.is(code, 4401);
      assert.ok(reason.length > 0);
    }
    const refused = await sse(http + SSE);
    assert.is(refused.status, 401);
    assert.match(refused.headers["content-type"]!, "application/problem+json");
  });

  test("a foreign page gets 403 before any stream", async () => {
    const { http, ws } = scene;
    const headers = { origin: "https://evil.example", cookie: `access=${await token(1)}` };
    assert.is((await sse(http + SSE, headers)).status, 403);
    const error = await socket(ws + WS, { headers }).catch((refusal: unknown) => refusal);
    assert.is((error as HandshakeRefused).status, 403, `${error}`);
  });
}

function ends(test: Test, scene: Scene): void {
  test("an open stream ends when its token does: 4401, and the end of SSE", async () => {
    const jwt = await token(6, {}, 2);
    const client = await strictSocket(`${scene.ws}${WS}?token=${jwt}`);
    const stream = await sse(`${scene.http}${SSE}?token=${jwt}`);
    await Promise.all([client.find("ready"), stream.find("ready")]);
    assert.is((await client.closed).code, 4401);
    assert.is(await stream.ended, true);
  });

  test("a revoked user's streams end, and the token is refused from then on", async () => {
    const jwt = await token(7);
    const client = await strictSocket(`${scene.ws}${WS}?token=${jwt}`);
    const stream = await sse(`${scene.http}${SSE}?token=${jwt}`);
    await Promise.all([client.find("ready"), stream.find("ready")]);
    await scene.sql`select tidings.revoke('7'::text)`;
    assert.is((await client.closed).code, 4401);
    assert.is(await stream.ended, true);
    assert.is((await (await strictSocket(`${scene.ws}${WS}?token=${jwt}`)).closed).code, 4401);
    assert.is((await sse(`${scene.http}${SSE}?token=${jwt}`)).status, 401);
  });
}
