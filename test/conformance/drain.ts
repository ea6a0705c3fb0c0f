/** A deploy: who is there is told to come back, who comes too, and nothing is lost between the two processes. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { sse, strictSocket } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { type Scene, SSE, WS } from "./scene.ts";

export function drain(test: Test, scene: Scene): void {
  test("SIGTERM drains: 1012 on sockets, the end on SSE, exit 0; what came meanwhile is there afterwards", async () => {
    const jwt = await token(5);
    const clients = await Promise.all([1, 2, 3].map(() => strictSocket(`${scene.ws}${WS}?token=${jwt}`)));
    const stream = await sse(scene.http + SSE, { authorization: `Bearer ${jwt}` });
    for (const client of [...clients, stream]) await client.find("ready");
    scene.server.kill("SIGTERM");
    await newcomersAreToldToComeBack(scene, jwt);
    for (const client of clients) assert.is((await client.closed).code, 1012);
    assert.is(await stream.ended, true);
    assert.equal(await scene.server.exited, { code: 0, signal: null });
    await scene.store(5, "meanwhile");
    await scene.start();
    const again = await strictSocket(`${scene.ws}${WS}?last_event_id=0&token=${jwt}`);
    assert.is((await again.find("notification")).id, 1);
  });
}

async function newcomersAreToldToComeBack(scene: Scene, jwt: string): Promise<void> {
  await eventually(async () => assert.is((await fetch(`${scene.http}/readyz`)).status, 503));
  const late = await sse(`${scene.http}${SSE}?token=${jwt}`);
  assert.is(late.status, 200);
  assert.is(await late.ended, true);
  assert.is(late.frames.length, 0);
  assert.ok(late.retries[0]! > 0);
  assert.is((await (await strictSocket(`${scene.ws}${WS}?token=${jwt}`)).closed).code, 1012);
}
