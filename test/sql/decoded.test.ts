/** What is read from the WAL is announced once every session sees it, and not before. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readSnapshot } from "../../src/db/snapshot.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { hear } from "./scene.ts";

const test = suite("decoded");
let db: TestDatabase;

test.before(async () => {
  db = await database({ domain: false });
});
test.after(() => db?.drop());

const announce = async (xids: readonly number[], n: number): Promise<string | null> => {
  const lines = `[{"type":"notify","group":"user_1","id":${n}}]\n{"type":"sweep"}`;
  const [row] = await db.sql`select tidings.announce_decoded(${`{${xids}}`}::text::bigint[], ${lines}) as unseen`;
  return row!.unseen;
};

test("nothing is announced while one of the transactions runs, or is still to come", async () => {
  const heard = await hear(db.url);
  const open = db.connect({ max: 1 });
  await open`begin`;
  const [{ xid }] = (await open`select pg_current_xact_id()::text::bigint % 4294967296 as xid`) as unknown as [
    { xid: number },
  ];
  const [{ over }] = (await db.sql`select pg_current_xact_id()::text::bigint % 4294967296 as over`) as unknown as [
    { over: number },
  ];
  for (const unseen of [[xid], [over, xid], [over + 1], [over + 2 ** 30]]) {
    const snapshot = await announce(unseen, 1);
    assert.ok(snapshot, String(unseen));
    assert.is(readSnapshot(snapshot!)(unseen.at(-1)!), false);
  }
  assert.is(await announce([over], 2), null);
  await open`commit`;
  assert.is(await announce([over, xid], 3), null);
  assert.is(await announce([], 4), null);
  await eventually(() => assert.is(heard.texts.length, 6));
  assert.equal(heard.entries(), ["1:2", "1:3", "1:4"]);
  assert.equal(heard.texts.slice(1, 2), ['{"type":"sweep"}']);
  await heard.stop();
});

test.run();
