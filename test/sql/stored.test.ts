/** An entry built from its columns (protocol/stored.ts) is what the database makes of it, whatever is in it. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { parseRelayed, relayedOf } from "../../src/protocol/relayed.ts";
import { type Columns, envelopeOf, storedOf } from "../../src/protocol/stored.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { randomOf } from "./scene.ts";

const test = suite("stored entries from columns");
let db: TestDatabase;
test.before(async () => {
  db = await database({ domain: false });
});
test.after(() => db.drop());

const SEED = Math.floor(Math.random() * 1e9);
const TEXTS = [
  "",
  "plain",
  'quo"te',
  "back\\slash",
  "ünï ☃ 🎉",
  "line\nbreak\ttab",
  "</script>",
  "\u2028",
  "null",
  "a".repeat(9_000),
];
const KEYS = [
  ...["id", "notification_id", "title", "message", "notification_type", "is_read", "created_at"],
  ...["timestamp", "archived", "data", "url", 'o"dd', "", "ID", "task_id"],
];
const VALUES = [
  1,
  -0.5,
  12_345_678_901,
  true,
  null,
  "text",
  'has "id" in it',
  [],
  {},
  { id: 7, nested: { data: [1] } },
];

test("notification and envelope agree with tidings.canonical and tidings.entry_envelope", async () => {
  const pick = randomOf(SEED);
  const one = <T>(list: readonly T[]): T => list[pick(list.length)]!;
  const fields = (): object => Object.fromEntries(Array.from({ length: pick(5) }, () => [one(KEYS), one(VALUES)]));
  await db.sql`insert into tidings.preference (user_id, type, stream) values ('u.7 ü"', 'off', false)`;
  for (let n = 0; n < 150; n++) {
    const event = pick(3) === 0 ? JSON.stringify({ type: one(["thing", "other"]), body: fields() }) : null;
    const message = event && pick(2) === 0 ? null : one(TEXTS);
    await db.sql`select tidings.send_notification('u.7 ü"', ${one([...TEXTS, null])}::text, ${message}::text,
      ${one(["note", "off", 'ty"pe'])}::text, ${JSON.stringify(fields())}::text::jsonb, ${event}::text::jsonb)`;
  }
  const rows = await db.sql<{ columns: Columns; canonical: object | null; envelope: object; plain: object | null }[]>`
    select jsonb_build_object('user_id', user_id, 'id', id::text, 'event', event::text, 'type', type, 'title', title, 'message', message,
        'data', data::text, 'streamed', left(streamed::text, 1),
        'created_at', to_char(created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || rtrim(to_char(created_at at time zone 'UTC', '.US'), '.0') || '+00') as columns,
      tidings.canonical(id, type, title, message, data, false, false, created_at) as canonical,
      tidings.entry_envelope(user_id, id, event, tidings.notification_json(id, type, title, message, data, false, false, tidings.utc(created_at)),
        streamed, tidings.utc(created_at))::jsonb as envelope,
      case when event is null and streamed
        then tidings.plain_envelope(user_id, id, type, title, message, data, tidings.utc(created_at))::jsonb end as plain
    from tidings.notification order by id`;
  assert.is(rows.length, 150);
  for (const { columns, canonical, envelope, plain } of rows) {
    const stored = storedOf(columns);
    const told = `seed ${SEED}, entry ${stored.id}`;
    assert.equal(stored.notification === null ? null : JSON.parse(stored.notification), canonical, told);
    assert.equal(JSON.parse(envelopeOf(stored)), envelope, told);
    assert.equal(parseRelayed(relayedOf(stored)), stored, told);
    if (plain) assert.equal(plain, envelope, told);
  }
  assert.ok(rows.filter(({ plain }) => plain).length > 20);
});

test("an entry comes over the bus as it was, whoever its user is", () => {
  const users = ["7", "", "a b\nc", "=1 2", "ü🎉", "0"];
  const events = [null, '{"type": "x y\\n"}', '{"a": 1}'];
  for (const user_id of users) {
    for (const event of events) {
      for (const message of [null, "hello\n=1"]) {
        const created_at = "2025-12-11 08:12:34+00";
        const stored = storedOf({ user_id, id: "12", event, type: "note", message, created_at, streamed: "f" });
        assert.equal(parseRelayed(relayedOf(stored)), stored);
      }
    }
  }
  for (const other of [
    '{"type":"notify","group":"user_7","id":17}',
    "=",
    "=\n",
    "=x now 1 1 0 0\n7",
    "=1.5 now 1 1 0 0\n7",
  ]) {
    assert.is(parseRelayed(other), null, other);
  }
});

test("a moment without fraction, and one with few digits, get all six", () => {
  const at = (created_at: string): string => storedOf({ user_id: "1", id: "1", created_at }).createdAt;
  assert.is(at("2025-12-11 08:12:34+00"), "2025-12-11T08:12:34.000000Z");
  assert.is(at("2025-12-11 08:12:34.5+00"), "2025-12-11T08:12:34.500000Z");
  assert.is(at("2025-12-11 08:12:34.123456+00"), "2025-12-11T08:12:34.123456Z");
});

test.run();
