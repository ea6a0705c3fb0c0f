/** Heartbeats in both directions, bad frames, and that a client which has left is noticed. */
import { once } from "node:events";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { WebSocket } from "ws";
import { closeClients, socket, sse, strictSocket } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { upgradeRequest } from "../helpers/raw.ts";
import { type Scene, SSE, WS } from "./scene.ts";

export function pings(test: Test, scene: Scene): void {
  fromClient(test, scene);
  fromServer(test, scene);
  leaving(test, scene);
}

function fromClient(test: Test, scene: Scene): void {
  test("a ping is answered as it came: frame, bare text, protocol", async () => {
    const client = await strictSocket(`${scene.ws}${WS}?token=${await token(3)}`);
    client.send({ type: "ping" });
    assert.is((await client.find("pong")).bare, undefined);
    client.send("ping");
    await client.find(({ type, bare }) => type === "pong" && bare === true);
    const protocol = new WebSocket(`${scene.ws}${WS}?token=${await token(3)}`);
    await once(protocol, "open");
    const pong = once(protocol, "pong");
    protocol.ping("are you there?");
    assert.is(String((await pong)[0]), "are you there?");
    protocol.terminate();
  });

  test("a bad frame is an error, the fifth closes with 4400, a huge one ends the socket and nothing else", async () => {
    const client = await strictSocket(`${scene.ws}${WS}?token=${await token(3)}`);
    client.send("nonsense");
    assert.is((await client.find("error")).data?.code, "bad_request");
    for (const frame of [new Uint8Array([1, 2]), "x".repeat(5_000), "{}", "[]"]) client.send(frame);
    assert.is((await client.closed).code, 4400);
    assert.is(client.all("error").length, 5);
    const huge = await socket(`${scene.ws}${WS}?token=${await token(3)}`);
    huge.send("x".repeat(100_000));
    assert.is((await huge.closed).code, 1009);
    await scene.serves();
  });
}

function fromServer(test: Test, scene: Scene): void {
  test("the server pings: who answers stays, who does not is closed with 4408; SSE gets comments or pong frames", async () => {
    const http = await scene.impatient();
    const ws = http.replace("http", "ws");
    const jwt = await token(11);
    const deaf = await socket(`${ws}${WS}?token=${jwt}`, { deaf: true });
    const browser = await strictSocket(`${ws}${WS}?token=${jwt}`);
    const comments = await sse(`${http}${SSE}?token=${jwt}`);
    const frames = await sse(`${http}${SSE}?heartbeat=1&token=${jwt}`);
    assert.is((await deaf.closed).code, 4408);
    await eventually(() => assert.ok(comments.comments.length > 2 && frames.all("pong").length > 2));
    browser.send({ type: "ping" });
    await browser.find("pong");
  });
}

function leaving(test: Test, scene: Scene): void {
  test("every stream that is left is noticed: closed, half-closed, reset, cut before it was answered", async () => {
    closeClients();
    await scene.quiet();
    const jwt = await token(12);
    const wsText = upgradeRequest(`${WS}?token=${jwt}`);
    const sseText = `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const clients = await Promise.all(
      [wsText, sseText].flatMap((text) => Array.from({ length: 9 }, () => scene.raw(text))),
    );
    await eventually(() => clients.every((client) => client.received().includes('"ready"')));
    assert.is(await scene.metric("tidings_streams"), clients.length);
    for (const [at, client] of clients.entries()) {
      if (at % 3 === 0) client.socket.end();
      else if (at % 3 === 1) client.socket.destroy();
      else client.socket.resetAndDestroy();
    }
    for (const text of [wsText, sseText]) {
      for (let at = 0; at < 20; at++) (await scene.raw(text)).socket.resetAndDestroy();
    }
    const closing = await strictSocket(`${scene.ws}${WS}?token=${jwt}`);
    await closing.find("ready");
    closing.close();
    assert.is((await closing.closed).code, 1000);
    await scene.quiet();
  });
}
