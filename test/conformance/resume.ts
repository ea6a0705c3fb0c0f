/** A stream is a cursor: where it begins, what it is sent when it comes back, and that nothing comes twice. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { type SocketClient, type SseClient, sse, strictSocket } from "../helpers/clients.ts";
import { eventually } from "../helpers/eventually.ts";
import { token } from "../helpers/instance.ts";
import { type Scene, SSE, WS } from "./scene.ts";

type Client = SocketClient | SseClient;

const ids = (client: Client): (number | undefined)[] => client.all("notification").map((frame) => frame.id);
const upTo = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, at) => first + at);

export function resume(test: Test, scene: Scene): void {
  /** Both transports at a cursor; null: none. */
  async function both(user: number, cursor: string | null): Promise<readonly [SocketClient, SseClient]> {
    const jwt = await token(user);
    const query = cursor === null ? "" : `?last_event_id=${cursor}`;
    const header: Record<string, string> = cursor === null ? {} : { "last-event-id": cursor };
    return Promise.all([
      strictSocket(`${scene.ws}${WS}${query}`, { protocols: ["tidings.v1", `bearer.${jwt}`] }),
      sse(scene.http + SSE, { authorization: `Bearer ${jwt}`, ...header }),
    ]);
  }

  test("both transports resume where they were, and hear what comes then", async () => {
    for (const message of ["one", "two", "three"]) await scene.store(2, message);
    const clients = await both(2, "1");
    for (const client of clients) await client.find("unread_count");
    await scene.store(2, "four");
    for (const client of clients) {
      await client.find(({ id }) => id === 4);
      assert.equal(ids(client), [2, 3, 4]);
      assert.is(client.frames[0]!.data?.resume, "complete");
    }
    assert.is(clients[1].lastEventId(), "4");
  });

  test("without a cursor a stream begins at the newest, with 0 at the first; SSE takes a query too", async () => {
    const stored = async (): Promise<number> =>
      Number((await scene.sql`select last_id from tidings.inbox where user_id = '8'`)[0]!.last_id);
    for (let at = 0; at < 3; at++) await scene.store(8, "before");
    assert.is(await stored(), 3);
    const live = await both(8, null);
    for (const client of live) assert.is((await client.find("ready")).data?.last_event_id, 3);
    await scene.store(8, "after");
    for (const client of live) {
      await client.find("notification");
      assert.equal(ids(client), [4]);
    }
    const jwt = await token(8);
    const query = await sse(`${scene.http}${SSE}?lastEventId=2&token=${jwt}`);
    for (const [client, first] of [...(await both(8, "0")).map((each) => [each, 1] as const), [query, 3] as const]) {
      await client.find(({ id }) => id === 4);
      assert.equal(ids(client), upTo(4, first));
    }
  });

  test("a cursor that cannot be is answered by reset, and the stream goes on live", async () => {
    await scene.store(9, "one");
    for (const cursor of ["1000", "garbage"]) {
      const clients = await both(9, cursor);
      for (const client of clients) {
        await client.find("reset");
        assert.is(client.frames[0]!.data?.resume, "reset");
      }
      const [before] = await scene.sql`select last_id from tidings.inbox where user_id = '9'`;
      await scene.store(9, "live");
      for (const client of clients) {
        await client.find("notification");
        assert.equal(ids(client), [Number(before!.last_id) + 1]);
      }
    }
  });

  test("while four writers write, streams that come and go miss nothing and get nothing twice", async () => {
    const writers = Promise.all(
      [1, 2, 3, 4].map(async () => {
        for (let at = 0; at < 50; at++) await scene.store(10, "busy");
      }),
    );
    const clients: Client[] = [...(await both(10, "0"))];
    for (let round = 0; round < 5; round++) {
      const [early] = await both(10, "0");
      await early.find("ready");
      early.close();
      clients.push(...(await both(10, "0")));
    }
    await writers;
    for (const client of clients) {
      await eventually(() => assert.is(ids(client).length, 200));
      assert.equal(ids(client), upTo(200));
    }
  });
}
