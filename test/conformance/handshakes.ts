/** How a stream is opened, byte by byte: which subprotocol is selected, and what is said to requests that open none. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { upgradeRequest } from "../helpers/raw.ts";
import { type Scene, SSE, WS } from "./scene.ts";

export function handshakes(test: Test, scene: Scene): void {
  subprotocols(test, scene);
  wrongTransport(test, scene);
}

function subprotocols(test: Test, scene: Scene): void {
  /** The head of the answer to an offer. */
  async function answerTo(offer: string | null): Promise<string> {
    const client = await scene.raw(upgradeRequest(WS, { "Sec-WebSocket-Protocol": offer }));
    await eventually(() => assert.match(client.received(), /\r\n\r\n/));
    client.socket.destroy();
    return client.received().split("\r\n\r\n")[0]!;
  }

  test("the subprotocol that is no token is selected, with and without a space after the comma", async () => {
    const jwt = await token(1);
    const selected: readonly [offer: string, protocol: string][] = [
      [`tidings.v1, bearer.${jwt}`, "tidings.v1"],
      [`tidings.v1,bearer.${jwt}`, "tidings.v1"],
      [`bearer.${jwt},tidings.v1`, "tidings.v1"],
      [`bearer, ${jwt}`, "bearer"],
      [`bearer,${jwt}`, "bearer"],
      [jwt, jwt],
      ["tidings.v1,bearer.nonsense", "tidings.v1"],
    ];
    for (const [offer, protocol] of selected) {
      const head = await answerTo(offer);
      assert.match(head, /^HTTP\/1\.1 101 /);
      const lines = [...head.matchAll(/^sec-websocket-protocol: *(.*?)\r?$/gim)].map(([, value]) => value);
      assert.equal(lines, [protocol], offer);
    }
  });

  test("where none was offered, none is selected", async () => {
    const head = await answerTo(null);
    assert.match(head, /^HTTP\/1\.1 101 /);
    assert.not.match(head, /sec-websocket-protocol/i);
  });
}

function wrongTransport(test: Test, scene: Scene): void {
  test("the socket's address answers 426 to a plain request, and SSE's 400 to an upgrade", async () => {
    const jwt = await token(1);
    for (const path of [WS, WS.slice(0, -1)]) {
      assert.is((await fetch(`${scene.http}${path}?token=${jwt}`)).status, 426);
    }
    const upgrade = await scene.raw(upgradeRequest(`${SSE}?token=${jwt}`));
    await eventually(() => assert.match(upgrade.received(), /^HTTP\/1\.1 400 /));
    upgrade.socket.destroy();
  });

  test("a body over 64 KiB is answered 413, and the server goes on", async () => {
    const headers = { authorization: `Bearer ${await token(1, { scope: "publish" })}` };
    const body = JSON.stringify({ to: 1, message: "x".repeat(100_000) });
    const answer = await fetch(`${scene.http}/api/publish`, { method: "POST", headers, body });
    assert.is(answer.status, 413);
    await scene.serves();
  });
}
