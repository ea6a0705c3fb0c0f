// @timeout 60
/** A key is stored once per user, whoever sends it, however often and at the same time. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { checkInvariants, codeOf, entriesOf, type Scene, scene } from "./scene.ts";

const test = suite("keys");
let s: Scene;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());

test("twenty concurrent senders of the same keys store each once", async () => {
  await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      for (let i = 0; i < 15; i++) {
        await s.pool`select tidings.send_notification('race', 't', ${`${n}`}, 'note', key => ${`k${i}`})`;
      }
    }),
  );
  const [row] =
    await s.sql`select count(*) as many, count(distinct key) as keys from tidings.notification where user_id = 'race'`;
  assert.equal({ ...row }, { many: 15, keys: 15 });
  await checkInvariants(s.sql);
});

for (const size of [2, 9, 25]) {
  test(`within one statement of ${size} rows the first of a key is stored, also when it is the first row staged`, async () => {
    const user = `statement${size}`;
    await s.sql`
      select tidings.send_notification(${user}, 't', n::text, 'note', key => case when n % 4 < 2 then 'same' || n % 2 end)
      from generate_series(0, ${size} - 1) n`;
    const expected = Array.from({ length: size }, (_, n) => n).filter((n) => n < 2 || n % 4 > 1);
    assert.equal(
      (await entriesOf(s.sql, user)).map(([, message]) => Number(message)),
      expected,
    );
    await s.sql`
      select tidings.send_notification(${user}, 't', 'again', 'note', key => 'same' || n % 2) from generate_series(1, ${size}) n`;
    assert.is((await entriesOf(s.sql, user)).length, expected.length);
    await checkInvariants(s.sql);
  });
}

test("within one transaction, in several statements and savepoints", async () => {
  await s.sql.begin(async (tx) => {
    await tx`savepoint a`;
    await tx`select tidings.send_notification('tx', 't', 'undone', 'note', key => 'k')`;
    await tx`rollback to a`;
    await tx`select tidings.send_notification('tx', 't', 'first', 'note', key => 'k')`;
    await tx`select tidings.send_notification('tx', 't', 'second', 'note', key => 'k')`;
  });
  assert.equal(await entriesOf(s.sql, "tx"), [[1, "first"]]);
});

test("the same key for another user is another entry", async () => {
  await s.sql`select tidings.broadcast(array['o1', 'o2', 'o3'], 't', 'm', 'note', key => 'k')`;
  await s.sql`select tidings.broadcast(array['o3', 'o4'], 't', 'm', 'note', key => 'k')`;
  const rows = await s.sql`select user_id from tidings.notification where user_id like 'o_' order by 1`;
  assert.equal(
    rows.map((row) => row.user_id),
    ["o1", "o2", "o3", "o4"],
  );
  await checkInvariants(s.sql);
});

test("what a mute kept from being stored may be sent again after it; an event stored under a mute holds its key", async () => {
  await s.sql`insert into tidings.preference (user_id, type, mute) values ('muted', 'note', true)`;
  await s.sql`select tidings.send_notification('muted', 't', 'silent', 'note', key => 'a')`;
  await s.sql`select tidings.send_notification('muted', 't', 'silent', 'note', '{}', '{"type": "x"}', 'b')`;
  await s.sql`delete from tidings.preference where user_id = 'muted'`;
  await s.sql`select tidings.send_notification('muted', 't', 'loud', 'note', key => 'a')`;
  await s.sql`select tidings.send_notification('muted', 't', 'loud', 'note', key => 'b')`;
  assert.equal(await entriesOf(s.sql, "muted"), [
    [1, null],
    [2, "loud"],
  ]);
  await checkInvariants(s.sql);
});

test("a key in a transaction that also reads and publishes takes its locks in the one order", async () => {
  await s.sql`select tidings.broadcast(array['r1', 'r2'], 't', 'm', 'note')`;
  const writer = async (first: string, second: string): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await s.pool.begin(async (tx) => {
        await tx`select tidings.send_notification(${first}, 't', 'm', 'note', key => ${`k${i}`})`;
        await tx`select tidings.mark_delivered(array['nobody'], array[1])`;
        await tx`select tidings.send_notification(${second}, 't', 'm', 'note', key => ${`k${i}`})`;
      });
    }
  };
  await Promise.all([writer("r1", "r2"), writer("r2", "r1"), writer("r1", "r2")]);
  assert.is((await entriesOf(s.sql, "r1")).length, 41);
  await checkInvariants(s.sql);
});

test("an empty or endless key is refused when it is sent", async () => {
  for (const key of ["", "k".repeat(256)]) {
    assert.is(await codeOf(s.sql`select tidings.send_notification('bad', 't', 'm', 'note', key => ${key})`), "22023");
  }
});

test.run();
