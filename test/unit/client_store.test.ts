/** The pure parts of the client: sequence, snapshots, the event-stream parser, tokens; and what the bundle weighs. */
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { sequence } from "../../src/client/sequence.ts";
import { arrive, count, EMPTY, hydrate, type Inbox, merge, update } from "../../src/client/snapshot.ts";
import { parseStream, type StreamEvent } from "../../src/client/sse.ts";
import { claimsOf, tokens } from "../../src/client/token.ts";
import type { Notification } from "../../src/protocol/frames.ts";
import { jwt, notification } from "../helpers/stream_server.ts";

const test = suite("the client's parts");
const item = (id: number, fields: object = {}): Notification =>
  notification(id, { ...fields }) as unknown as Notification;
const entry = (file: string): string => fileURLToPath(new URL(`../../src/client/${file}`, import.meta.url));

async function weight(file: string, splitting: boolean): Promise<{ bytes: number; imports: string[] }> {
  const { outputFiles, metafile } = await build({
    ...{ entryPoints: [entry(file)], bundle: true, minify: true, format: "esm", target: "es2022" },
    ...{ splitting, write: false, metafile: true, outdir: "out" },
  });
  const first = outputFiles.find(({ path }) => !/tabs-/.test(path))!;
  const imports = Object.keys(metafile.inputs).filter((path) => path.includes("node_modules"));
  return { bytes: gzipSync(first.contents, { level: 9 }).length, imports };
}

test("the SDK weighs at most 6 kB, minified and gzipped, and brings nothing but mitt", async () => {
  const { bytes, imports } = await weight("index.ts", true);
  assert.ok(bytes <= 6 * 1024, `${bytes} bytes`);
  assert.equal(
    imports.map((path) => path.replace(/.*node_modules\//, "")),
    ["mitt/dist/mitt.mjs"],
  );
});

test("with the tabs' part, which is loaded when it is used, it stays below 7 kB", async () => {
  const { bytes } = await weight("index.ts", false);
  assert.ok(bytes <= 7 * 1024, `${bytes} bytes`);
});

test("the sequence delivers each type of an entry once, and moves on its last frame", () => {
  const { check, cursor, start } = sequence(true, () => 0);
  start(4);
  assert.is(check({ type: "pong" }), "deliver");
  assert.is(check({ type: "a", id: 5, more: true }), "deliver");
  assert.is(check({ type: "a", id: 5, more: true }), "duplicate");
  assert.is(cursor(), 4);
  assert.is(check({ type: "b", id: 5 }), "deliver");
  assert.is(check({ type: "b", id: 5 }), "duplicate");
  assert.is(check({ type: "b", id: 3 }), "duplicate");
  assert.is(cursor(), 5);
});

test("a gap is one once; healed in vain it is passed, and looked for again later", () => {
  let now = 0;
  const { check, cursor, start } = sequence(true, () => now);
  start(1);
  assert.is(check({ type: "a", id: 3 }), "gap");
  assert.is(cursor(), 1);
  assert.is(check({ type: "a", id: 3 }), "deliver");
  assert.is(check({ type: "a", id: 9 }), "deliver");
  now = 600_000;
  assert.is(check({ type: "a", id: 11 }), "gap");
  assert.is(check({ type: "a", id: 10 }), "deliver");
  assert.is(check({ type: "a", id: 11 }), "deliver");
});

test("ids that are passed by are no gap, nor are missing ids where frames are filtered", () => {
  const passing = sequence(true, () => 0);
  passing.start(1);
  passing.check({ type: "cursor", id: 4 });
  assert.is(passing.check({ type: "a", id: 5 }), "deliver");
  const filtered = sequence(false, () => 0);
  filtered.start(1);
  assert.is(filtered.check({ type: "a", id: 50 }), "deliver");
});

test("an inbox read while notifications stream in keeps them, and counts each once", () => {
  const inbox: Inbox = { notifications: [item(2)], unread_count: 1, by_type: { note: 1 }, last_event_id: 2 };
  const early = [1, 2, 3, 4].reduce((at, id) => arrive(at, item(id)), EMPTY);
  const read = hydrate(early, inbox);
  assert.equal(
    read.notifications.map(({ id }) => id),
    [4, 3, 2],
  );
  assert.equal([read.unreadCount, read.byType], [3, { note: 3 }]);
  assert.is(arrive(read, item(1)).unreadCount, 3, "the snapshot counted it already");
  assert.is(arrive(read, item(4)).unreadCount, 3, "known");
  assert.is(arrive(read, item(5, { is_read: true })).unreadCount, 3, "read already");
  assert.is(arrive(read, item(5, { archived: true })).notifications.length, 3, "archived");
});

test("counts never fall below nothing, and a type without unread ones has no key", () => {
  const at = count(EMPTY, { a: 2, b: 1 });
  assert.equal([at.unreadCount, at.byType], [3, { a: 2, b: 1 }]);
  const less = count(at, { a: 5 }, -1);
  assert.equal([less.unreadCount, less.byType], [0, { b: 1 }]);
});

test("a bulk change means up to an id, of a type, in a room", () => {
  const list = [
    item(1, { data: { room_id: 4 } }),
    item(2, { data: { room_id: 5 } }),
    item(3, { data: { room_id: 4 } }),
  ];
  const at = { ...EMPTY, notifications: merge([], list) };
  const next = update(at, { up_to: 2, room_id: 4, status: "read" });
  assert.equal(
    next.notifications.map(({ id, is_read }) => [id, is_read]),
    [
      [3, false],
      [2, false],
      [1, true],
    ],
  );
  assert.is(update(at, { notification_id: 1, status: "delivered" }), at);
});

test("the event-stream grammar holds in any pieces and with any line ends", () => {
  const whole = 'retry: 50\nid: 7\n\n: ping\n\ndata: {"a":1}\nid:8\n\ndata:x\ndata: y\nevent: z\n\ndata\n\ndata: cut';
  for (const text of [whole, whole.replaceAll("\n", "\r\n"), whole.replaceAll("\n", "\r")]) {
    for (const size of [1, 2, 3, 7, 1000]) {
      const events: StreamEvent[] = [];
      const feed = parseStream((event) => events.push(event));
      for (let at = 0; at < text.length; at += size) feed(text.slice(at, at + size));
      assert.equal(events, [{ retry: 50, id: "7" }, {}, { data: '{"a":1}', id: "8" }, { data: "x\ny" }, { data: "" }]);
    }
  }
});

test("a token says user and end; what is no token says nothing", () => {
  assert.equal(claimsOf(jwt(42, 1000)), { expiresAt: 1_000_000, user: "42" });
  for (const text of ["", "a", "a.b.c", "..", "a.bnVsbA.c"]) assert.equal(claimsOf(text), {});
});

test("a token is fetched once for all who ask, kept while it is good, and anew when asked for", async () => {
  let calls = 0;
  let now = 0;
  const { get } = tokens(
    async () => jwt(1, 100, `${++calls}`),
    () => now,
  );
  await Promise.all([get(), get(), get()]);
  assert.is(calls, 1);
  now = 60_000;
  await get();
  assert.is(calls, 1);
  now = 75_000;
  await get();
  assert.is(calls, 2, "it ends within 30 s");
  await get(true);
  assert.is(calls, 3);
});

test.run();
