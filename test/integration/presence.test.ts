/** Presence over running instances: friends hear who comes and goes, a reload is silent, a dead instance is noticed. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { endAll, tidings } from "../helpers/cli.ts";
import { closeClients, type SocketClient, socket } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, SECRET, token } from "../helpers/instance.ts";

const test = suite("presence");
let db: TestDatabase;
let one: Instance;
let two: Instance;

test.before(async () => {
  db = await database({ domain: true });
  await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo'), ('dan')`;
  await db.sql`insert into app.friendship (requester_id, addressee_id, status) values (1, 2, 'accepted'), (3, 1, 'accepted')`;
  one = await instance(db.url);
  two = await instance(db.url);
});
test.after.each(() => closeClients());
test.after(async () => {
  await endAll();
  await Promise.all([one.stop(), two.stop()]);
  await db.drop();
});

async function stream(ws: string, user: number): Promise<SocketClient> {
  const client = await socket(`${ws}/ws/notifications/?token=${await token(user)}`);
  await client.find("ready");
  return client;
}

const seen = (client: SocketClient, user: number) =>
  client.all("presence_update").flatMap(({ user_id, status }) => (user_id === user ? [status] : []));

test("friends on other instances hear a user come once, and go once after the grace; others hear nothing", async () => {
  const [ann, dan] = [await stream(one.ws, 1), await stream(one.ws, 4)];
  const ben = await stream(two.ws, 2);
  await eventually(() => assert.equal(seen(ann, 2), ["online"]));
  const again = await stream(one.ws, 2);
  ben.close();
  again.close();
  await eventually(() => assert.equal(seen(ann, 2), ["online", "offline"]), { deadlineMs: 12_000 });
  assert.is(dan.all("presence_update").length, 0);
});

test("a reload is silent, and REST shows who is online", async () => {
  const ann = await stream(one.ws, 1);
  const cleo = await stream(two.ws, 3);
  await eventually(() => assert.equal(seen(ann, 3), ["online"]));
  cleo.close();
  await stream(one.ws, 3);
  const { items } = await (await fetch(`${one.url}/api/friends`, { headers: await one.auth(1) })).json();
  assert.equal(
    items.map((friend: { username: string; friend_status: string }) => [friend.username, friend.friend_status]).sort(),
    [
      ["ben", "offline"],
      ["cleo", "online"],
    ],
  );
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  assert.equal(seen(ann, 3), ["online"]);
});

test("users of an instance that is killed go offline within seconds", async () => {
  const ann = await stream(one.ws, 1);
  const dying = tidings(["serve"], { DATABASE_URL: db.url, JWT_SECRET: SECRET });
  const ben = await stream((await dying.url).replace("http", "ws"), 2);
  await eventually(() => assert.equal(seen(ann, 2), ["online"]));
  dying.kill("SIGKILL");
  await ben.closed;
  await eventually(() => assert.equal(seen(ann, 2), ["online", "offline"]), { deadlineMs: 20_000 });
});

test("nothing is written while nobody comes or goes", async () => {
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  const count = async () =>
    (
      await db.sql`select n_tup_ins + n_tup_upd + n_tup_del as n from pg_stat_user_tables where relname = 'presence'`
    )[0]!.n;
  const before = await count();
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  assert.is(await count(), before);
});

test.run();
