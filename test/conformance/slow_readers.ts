/** Clients that stop reading: what they are not sent waits in the table and not in memory, and they miss nothing. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { rawClient, upgradeRequest } from "../helpers/raw.ts";
import { type Scene, SSE, WS } from "./scene.ts";

/** 40 MB: more than the kernel holds between two sockets of one machine; each too big for a NOTIFY. */
const ENTRIES = 4_000;
const BYTES = 10_000;
const REQUESTS: readonly [what: string, text: (jwt: string) => string][] = [
  ["SSE", (jwt) => `GET ${SSE}?token=${jwt} HTTP/1.1\r\nHost: localhost\r\n\r\n`],
  ["WebSocket", (jwt) => upgradeRequest(`${WS}?token=${jwt}`)],
];

export function slowReaders(test: Test, scene: Scene): void {
  const fill = (user: number) =>
    scene.sql`select tidings.send_notification(${String(user)}::text, 't', repeat('x', ${BYTES}::int), 'big')
      from generate_series(1, ${ENTRIES}::int)`;

  /** How many entries are written to streams until no more are. */
  async function standstill(before: number): Promise<number> {
    let [last, still] = [before, 0];
    await eventually(
      async () => {
        const now = await scene.metric("tidings_sends_total");
        still = now > before && now === last ? still + 1 : 0;
        last = now;
        return still === 3;
      },
      { everyMs: 300, deadlineMs: 30_000 },
    );
    return last - before;
  }

  for (const [at, [what, request]] of REQUESTS.entries()) {
    test(`a ${what} client that stops reading makes its stream wait, and gets everything once it reads again`, async () => {
      const user = 20 + at;
      const slow = await scene.raw(request(await token(user)));
      await eventually(() => assert.match(slow.received(), /"ready"/));
      slow.socket.pause();
      const before = await scene.metric("tidings_sends_total");
      await fill(user);
      await scene.serves();
      const written = await standstill(before);
      assert.ok(written < ENTRIES * 0.75, `${written} of ${ENTRIES} entries were written for a client that takes none`);
      slow.socket.resume();
      const frames = (): number[] =>
        [...slow.received().matchAll(/\{"type":"notification","id":(\d+)/g)].map(([, id]) => Number(id));
      await eventually(() => assert.is(frames().at(-1), ENTRIES), { deadlineMs: 30_000, everyMs: 300 });
      assert.equal(
        frames(),
        Array.from({ length: ENTRIES }, (_, n) => n + 1),
      );
      slow.socket.destroy();
    });
  }

  test("clients that never read again are sent away", async () => {
    const http = await scene.impatient();
    const clients = [];
    for (const [, request] of REQUESTS) {
      const client = await rawClient(Number(new URL(http).port), request(await token(22)));
      await eventually(() => assert.match(client.received(), /"ready"/));
      client.socket.pause();
      clients.push(client);
    }
    await fill(22);
    await eventually(async () => assert.is(await scene.metric("tidings_streams", http), 0), { everyMs: 200 });
    for (const client of clients) client.socket.destroy();
  });
}
