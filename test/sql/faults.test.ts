// @timeout 60
/** What broke earlier versions of the numbering (deferred work, immediate constraints, crashes of settings, and so on). */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { checkInvariants, codeOf, entriesOf, hear, type Scene, scene } from "./scene.ts";

const test = suite("faults");
let s: Scene;
test.before(async () => {
  s = await scene();
});
test.after(() => s.db.drop());

test("deferred triggers of the application may stage more, before the numbering and after it", async () => {
  await s.sql.unsafe(`
    create table late (id bigint generated always as identity, recipient text, again int);
    create function stage_late() returns trigger language plpgsql as $$
    begin
      perform tidings.send_notification(new.recipient, 't', 'late ' || new.again, 'note');
      if new.again > 0 then insert into late (recipient, again) values (new.recipient, new.again - 1); end if;
      return null;
    end $$;
    create constraint trigger stage_late after insert on late deferrable initially deferred for each row execute function stage_late();
    -- fires after numbering has begun
    create function echo() returns trigger language plpgsql as $$
    begin
      if new.message = 'late 0' then perform tidings.send_notification(new.user_id, 't', 'echo', 'note'); end if;
      return null;
    end $$;
    create constraint trigger echo after insert on tidings.notification deferrable initially deferred for each row execute function echo();`);
  await s.sql.begin(async (tx) => {
    await tx`insert into late (recipient, again) values ('late', 3)`;
    await tx`insert into note (recipient, body) values ('late', 'early')`;
  });
  assert.equal(
    (await entriesOf(s.sql, "late")).map(([, message]) => message),
    ["early", "late 3", "late 2", "late 1", "late 0", "echo"],
  );
  await s.sql`drop trigger echo on tidings.notification`;
  await checkInvariants(s.sql);
});

test("deferred foreign keys against row locks, and deferred triggers that update rows, do not deadlock with the numbering", async () => {
  await s.sql.unsafe(`
    create table parent (id text primary key, n int default 0);
    insert into parent values ('x'), ('y');
    create table child (parent text references parent deferrable initially deferred);
    create function bump() returns trigger language plpgsql as $$
    begin update parent set n = n + 1 where id = new.parent; return null; end $$;
    create constraint trigger bump after insert on child deferrable initially deferred for each row execute function bump();`);
  const writer = async (parent: string): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await s.pool.begin(async (tx) => {
        await tx`insert into note (recipient, body) values ('fk', 'x')`;
        await tx`insert into child values (${parent})`;
      });
    }
  };
  const locker = async (): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await s.pool.begin(async (tx) => {
        await tx`select from parent where id = 'x' for update`;
        await tx`insert into note (recipient, body) values ('fk', 'y')`;
      });
    }
  };
  await Promise.all([writer("x"), writer("x"), writer("y"), locker(), locker()]);
  assert.is((await entriesOf(s.sql, "fk")).length, 200);
  await checkInvariants(s.sql);
});

for (const times of [1, 2, 3]) {
  test(`set constraints all immediate, ${times} times in mid-transaction, neither numbers early nor loses what comes later`, async () => {
    const user = `immediate${times}`;
    await s.pool.begin(async (open) => {
      await open`insert into note (recipient, body) values (${user}, 'one')`;
      for (let i = 0; i < times; i++) {
        await open`set constraints all immediate`;
        await open`insert into note (recipient, body) values (${user}, ${`after ${i}`})`;
      }
      await open`set constraints all deferred`;
      await open`insert into note (recipient, body) values (${user}, 'last')`;
      // no lock is held yet: another writer passes
      await s.sql.begin(async (tx) => {
        await tx`set local lock_timeout = '2s'`;
        await tx`insert into note (recipient, body) values (${user}, 'overtook')`;
      });
    });
    const messages = (await entriesOf(s.sql, user)).map(([, message]) => message);
    assert.equal(messages, ["overtook", "one", ...Array.from({ length: times }, (_, i) => `after ${i}`), "last"]);
    await checkInvariants(s.sql);
  });
}

test("one row alone is not numbered early either, however often set constraints all immediate is said", async () => {
  await s.pool.begin(async (open) => {
    await open`insert into note (recipient, body) values ('alone', 'first written')`;
    for (let i = 0; i < 3; i++) await open`set constraints all immediate`;
    await s.sql.begin(async (tx) => {
      await tx`set local lock_timeout = '2s'`;
      await tx`insert into note (recipient, body) values ('alone', 'overtook')`;
    });
  });
  assert.equal(await entriesOf(s.sql, "alone"), [
    [1, "overtook"],
    [2, "first written"],
  ]);
  await checkInvariants(s.sql);
});

test("constraints that are immediate from the beginning, with opposite orders, never deadlock", async () => {
  const writer = async (users: string[]): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await s.pool.begin(async (tx) => {
        await tx`set constraints all immediate`;
        for (const user of users) await tx`insert into note (recipient, body) values (${user}, 'x')`;
        await tx`set constraints all immediate`;
      });
    }
  };
  await Promise.all([writer(["i1", "i2"]), writer(["i2", "i1"]), writer(["i1", "i2"]), writer(["i2", "i1"])]);
  assert.is((await entriesOf(s.sql, "i1")).length, 160);
  await checkInvariants(s.sql);
});

test("nested exception blocks and savepoints keep exactly what was not rolled back", async () => {
  await s.sql.unsafe(`do $$
    begin
      begin
        insert into note (recipient, body) values ('nest', 'lost head');
        raise exception 'x';
      exception when others then
        insert into note (recipient, body) values ('nest', 'from handler');
        begin
          insert into note (recipient, body) values ('nest', 'inner');
          begin
            insert into note (recipient, body) values ('nest', 'lost');
            perform 1 / 0;
          exception when division_by_zero then null;
          end;
        end;
      end;
    end $$`);
  assert.equal(
    (await entriesOf(s.sql, "nest")).map(([, message]) => message),
    ["from handler", "inner"],
  );
  await s.sql.begin(async (tx) => {
    await tx`savepoint a`;
    await tx`insert into note (recipient, body) values ('nest', 'undone')`;
    await tx`set constraints all immediate`;
    await tx`rollback to a`;
    await tx`insert into note (recipient, body) values ('nest', 'kept')`;
    await tx`savepoint b`;
    await tx`insert into note (recipient, body) values ('nest', 'undone')`;
    await tx`rollback to b`;
  });
  assert.equal((await entriesOf(s.sql, "nest")).at(-1), [3, "kept"]);
  await checkInvariants(s.sql);
});

test("a row inserted into a partition directly, or as a replica, is staged and numbered like any other", async () => {
  await s.sql.unsafe(`
    create table parted (id int, recipient text, body text) partition by list (id);
    create trigger stage_note after insert on parted for each row execute function stage_note();
    create table parted_1 partition of parted for values in (1);
    alter table note enable always trigger stage_note;`);
  await s.sql`insert into parted_1 values (1, 'part', 'direct')`;
  await s.sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx`insert into note (recipient, body) values ('part', 'replica')`;
  });
  assert.equal(
    (await entriesOf(s.sql, "part")).map(([, message]) => message),
    ["direct", "replica"],
  );
  await checkInvariants(s.sql);
});

test("a commit that publishes is flushed, also where the session does not wait for its commits", async () => {
  // runs in the commit, after the numbering
  await s.sql.unsafe(`
    create table seen (setting text);
    create function see() returns trigger language plpgsql as $$
    begin insert into seen values (current_setting('synchronous_commit')); return null; end $$;
    create constraint trigger see after insert on tidings.notification deferrable initially deferred for each row execute function see();`);
  for (const setting of ["off", "local"]) {
    await s.sql.begin(async (tx) => {
      await tx.unsafe(`set local synchronous_commit = ${setting}`);
      await tx`insert into note (recipient, body) values ('sync', 'x')`;
    });
  }
  await s.sql`drop trigger see on tidings.notification`;
  assert.equal(
    (await s.sql`select setting from seen`).map(({ setting }) => setting),
    ["on", "local"],
  );
});

test("payloads over the limit never fail the writer: an entry goes without, a transient event by reference", async () => {
  const heard = await hear(s.db.url);
  try {
    const long = "ü".repeat(6_000);
    const name = "\u0001".repeat(255);
    await s.sql`select tidings.send_notification('big', 't', ${long}, 'note')`;
    await s.sql`select tidings.notify_user('big', ${s.sql.json({ type: "blob", long })})`;
    // escaped, the group alone takes 1,500 bytes
    await s.sql`select tidings.notify_user(${name}, ${s.sql.json({ type: "edge", fill: "x".repeat(7_500) })})`;
    await s.sql.begin(async (tx) => {
      for (let i = 0; i < 14; i++) {
        await tx`select tidings.send_notification('big', 't', ${"y".repeat(7_300 + i * 50)}, 'note')`;
        await tx`select tidings.notify_user('big', ${tx.json({ type: "blob", fill: "z".repeat(7_700 + i * 20) })})`;
      }
    });
    await eventually(() => assert.is(heard.envelopes.length, 31));
    const [entry, blob, edge] = heard.envelopes;
    assert.equal(entry, { type: "notify", group: "user_big", id: 1 });
    assert.is(blob!.payload, undefined);
    assert.is(edge!.group, `user_${name}`);
    for (const parcel of [blob, edge].map((each) => each!.parcel as number)) {
      const [row] = await s.sql`select payload from tidings.parcel where id = ${parcel}`;
      assert.type(row!.payload.type, "string");
    }
    assert.equal(
      heard.entries().map((each) => Number(each.slice(4))),
      Array.from({ length: 15 }, (_, i) => i + 1),
    );
    assert.ok(
      heard.envelopes.some(({ id, payload }) => Number(id) > 1 && payload) &&
        heard.envelopes.some(({ parcel }) => parcel),
    );
  } finally {
    await heard.stop();
  }
});

test("counts by so many types that they do not fit a NOTIFY travel by reference", async () => {
  await s.sql`
    select tidings.send_notification('types', 't', 'm', repeat('t', 200) || n) from generate_series(1, 60) n`;
  assert.is((await s.sql`select * from tidings.mark('types', 1, 'read')`).length, 1);
  await checkInvariants(s.sql);
});

test("two-phase commit is refused where the transaction has notified", async () => {
  const [row] = await s.sql`select current_setting('max_prepared_transactions')::int as most`;
  const session = await s.sql.reserve();
  try {
    await session`begin`;
    await session`insert into note (recipient, body) values ('2pc', 'x')`;
    const code = await codeOf(session`prepare transaction 'tidings_test'`);
    assert.is(code, row!.most === 0 ? "55000" : "0A000");
    await session`rollback`;
  } finally {
    session.release();
  }
  assert.equal(await entriesOf(s.sql, "2pc"), []);
});

test("a transaction that resets its settings in the middle still publishes everything", async () => {
  await s.sql.begin(async (tx) => {
    await tx`insert into note (recipient, body) values ('reset', 'one')`;
    await tx`insert into note (recipient, body) values ('reset', 'two')`;
    await tx`reset all`;
    await tx`insert into note (recipient, body) values ('reset', 'three')`;
  });
  assert.is((await entriesOf(s.sql, "reset")).length, 3);
  await checkInvariants(s.sql);
});

test("the same prepared statement, reused while the outbox fills with dead rows, goes on working", async () => {
  for (let i = 0; i < 300; i++) await s.sql`insert into note (recipient, body) values ('again', ${String(i)})`;
  await s.sql`vacuum analyze tidings.outbox`;
  for (let i = 0; i < 20; i++)
    await s.sql`insert into note (recipient, body) select 'again', 'x' from generate_series(1, ${i})`;
  assert.is((await entriesOf(s.sql, "again")).length, 490);
  await checkInvariants(s.sql);
});

test("entries cannot be written by hand, and the error says what to do instead", async () => {
  const insert = (): PromiseLike<unknown> => s.sql`
    insert into tidings.notification (user_id, id, type, message, created_at) values ('hand', 1, 't', 'm', now())`;
  assert.is(await codeOf(insert()), "0A000");
  try {
    await insert();
  } catch (error) {
    assert.match((error as { hint: string }).hint, "tidings.notifications");
  }
});

test("an entry with neither event nor message is an error, alone and among many", async () => {
  for (const many of [1, 2, 20]) {
    const code = await codeOf(s.sql`
      insert into tidings.outbox (kind, target, type, message)
      select 'e', 'empty', 't', case when n < ${many} then 'm' end from generate_series(1, ${many}) n`);
    assert.is(code, "23502");
  }
  assert.equal(await entriesOf(s.sql, "empty"), []);
});

test.run();
