/** What one client can send, with a token or without: each must leave the server serving others, and nothing behind. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { strictSocket } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { type RawClient, upgradeRequest } from "../helpers/raw.ts";
import { type Scene, SSE, WS } from "./scene.ts";

const getSse = (jwt: string): string => `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
const REQUESTS: readonly [what: string, text: (jwt: string) => string][] = [
  ["an upgrade", () => upgradeRequest(WS)],
  ["an upgrade of an unknown path", () => upgradeRequest("/nowhere")],
  ["an upgrade of //", () => upgradeRequest("//")],
  ["an upgrade of http://[", () => upgradeRequest("http://[")],
  ["Upgrade: h2c", () => upgradeRequest(WS, { Upgrade: "h2c" })],
  ["an upgrade without a key", () => upgradeRequest(WS, { "Sec-WebSocket-Key": null })],
  ["an upgrade of version 7", () => upgradeRequest(WS, { "Sec-WebSocket-Version": "7" })],
  ["an upgrade by POST", () => upgradeRequest(WS, { "Content-Length": "5" }, "POST")],
  ["an upgrade with an empty Host", () => upgradeRequest(WS, { Host: "" })],
  ["half a request", () => `GET ${WS} HTTP/1.1\r\nHost: x\r\nUpgra`],
  ["a header of 100 KB", () => `GET ${WS} HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(100_000)}`],
  ["no HTTP", () => "\x16\x03\x01\x02\x00\x01"],
  ["a user's last 50 streams, pipelined", (jwt) => getSse(jwt).repeat(50)],
  ["an upgrade pipelined behind a stream", (jwt) => getSse(jwt) + upgradeRequest(`${WS}?token=${jwt}`)],
];

/** After the handshake, in place of frames. */
const FRAMES: readonly [what: string, bytes: string][] = [
  ["a frame without a mask", "\x81\x01a"],
  ["text that is no UTF-8", "\x81\x82\0\0\0\0\xff\xff"],
  ["a reserved opcode", "\x8f\x80\0\0\0\0"],
  ["a message of 100 KB in fragments", `\x01\x80\0\0\0\0${`\0\xfe\x04\0\0\0\0\0${"a".repeat(1_024)}`.repeat(100)}`],
  ["a length of 2^64", `\x81${"\xff".repeat(9)}\0\0\0\0`],
];

export function hostile(test: Test, scene: Scene): void {
  requests(test, scene);
  frames(test, scene);
}

function requests(test: Test, scene: Scene): void {
  for (const [what, text] of REQUESTS) {
    test(`${what}, then a reset, at once or a little later, leaves the server serving`, async () => {
      const jwt = await token(13);
      for (const ms of [0, 50]) {
        const client = await scene.raw(text(jwt));
        // a moment of the server's own, of which nothing can be seen from here
        if (ms) await sleep(ms);
        client.socket.resetAndDestroy();
        await scene.serves();
      }
      // whatever was asked for is given back
      await eventually(async () => {
        const client = await strictSocket(`${scene.ws}${WS}?token=${jwt}`);
        await client.find("ready");
        client.close();
      });
      await scene.quiet();
    });
  }
}

function frames(test: Test, scene: Scene): void {
  async function open(): Promise<RawClient> {
    const client = await scene.raw(upgradeRequest(`${WS}?token=${await token(14)}`));
    await eventually(() => assert.match(client.received(), /"ready"/));
    return client;
  }

  for (const [what, bytes] of FRAMES) {
    test(`${what} ends its socket, by a close frame or without, and no other`, async () => {
      const client = await open();
      let over = false;
      void client.ended.then(() => {
        over = true;
      });
      client.socket.write(bytes, "latin1");
      const answer = (): string => client.received().split("\r\n\r\n")[1]!;
      await eventually(() => over || answer().includes("\x88"), { deadlineMs: 5_000 });
      client.socket.destroy();
      await scene.serves();
      await scene.quiet();
    });
  }

  test("a message in 100,000 empty fragments delays nobody", async () => {
    const client = await open();
    client.socket.write(`\x01\x80\0\0\0\0${"\0\x80\0\0\0\0".repeat(100_000)}`, "latin1");
    await scene.serves();
    client.socket.destroy();
    await scene.quiet();
  });
}
