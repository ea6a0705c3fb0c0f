/** What one client without a token can send: each must leave the server serving others, and nothing behind. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { upgradeRequest } from "../helpers/raw.ts";
import { type Scene, SSE, WS } from "./scene.ts";

const REQUESTS: readonly [what: string, text: string][] = [
  ["an upgrade", upgradeRequest(WS)],
  ["an upgrade of an unknown path", upgradeRequest("/nowhere")],
  ["an upgrade of //", upgradeRequest("//")],
  ["an upgrade of http://[", upgradeRequest("http://[")],
  ["Upgrade: h2c", upgradeRequest(WS, { Upgrade: "h2c" })],
  ["an upgrade without a key", upgradeRequest(WS, { "Sec-WebSocket-Key": null })],
  ["an upgrade of version 7", upgradeRequest(WS, { "Sec-WebSocket-Version": "7" })],
  ["an upgrade by POST", upgradeRequest(WS, { "Content-Length": "5" }, "POST")],
  ["an upgrade with an empty Host", upgradeRequest(WS, { Host: "" })],
  ["half a request", `GET ${WS} HTTP/1.1\r\nHost: x\r\nUpgra`],
  ["a header of 100 KB", `GET ${WS} HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(100_000)}`],
  ["no HTTP", "\x16\x03\x01\x02\x00\x01"],
  ["many pipelined requests", `GET ${SSE} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(50)],
];

/** After the handshake, in place of frames. */
const FRAMES: readonly [what: string, bytes: string, close: RegExp][] = [
  ["a frame without a mask", "\x81\x01a", /\x88/],
  ["text that is no UTF-8", "\x81\x82\x00\x00\x00\x00\xff\xff", /\x88/],
  ["a reserved opcode", "\x8f\x80\x00\x00\x00\x00", /\x88/],
  ["a length of 2^63", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", /\x88/],
  ["a message of 1,000 empty fragments", `\x01\x80\0\0\0\0${"\0\x80\0\0\0\0".repeat(1_000)}`, /\x88/],
];

export function hostile(test: Test, scene: Scene): void {
  for (const [what, text] of REQUESTS) {
    test(`${what}, then a reset, at once or a little later, leaves the server serving`, async () => {
      for (const ms of [0, 50]) {
        const client = await scene.raw(text);
        // a moment of the server's own, of which nothing can be seen from here
        if (ms) await sleep(ms);
        client.socket.resetAndDestroy();
        await scene.serves();
      }
    });
  }
  afterTheHandshake(test, scene);
}

function afterTheHandshake(test: Test, scene: Scene): void {
  for (const [what, bytes, close] of FRAMES) {
    test(`${what} ends its socket, by a close frame or without, and no other`, async () => {
      const client = await scene.raw(upgradeRequest(`${WS}?token=${await token(13)}`));
      await eventually(() => assert.match(client.received(), /"ready"/));
      let over = false;
      void client.ended.then(() => {
        over = true;
      });
      client.socket.write(bytes, "latin1");
      await eventually(() => assert.ok(over || close.test(client.received().split("\r\n\r\n")[1]!)), {
        deadlineMs: 5_000,
      });
      client.socket.destroy();
      await scene.serves();
      await scene.quiet();
    });
  }

  test("an upgrade pipelined behind a request that streams ends, and with it the connection's streams", async () => {
    const jwt = await token(13);
    const first = `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const client = await scene.raw(first + upgradeRequest(`${WS}?token=${jwt}`));
    let over = false;
    void client.ended.then(() => {
      over = true;
    });
    await eventually(() => over);
    await scene.quiet();
  });
}
