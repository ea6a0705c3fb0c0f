// @timeout 60
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually } from "../helpers/eventually.ts";
import { hear } from "../sql/scene.ts";
import { type MailScene, mailScene } from "./mail_scene.ts";

const test = suite("e-mail");
let s: MailScene;

test.before(async () => {
  s = await mailScene();
});
test.after(() => s.end());
test.after.each(() => s.reset());

test("an unread notification is mailed once, as text and HTML, and its streams are told", async () => {
  const ear = await hear(s.db.url);
  await s.notify("u1", "Your order <42> has left\n& more");
  const mailer = s.mailer();
  await eventually(async () => assert.equal(await s.states("u1"), ["1:sent"]));
  const [mail] = s.server.mails;
  assert.is(s.server.mails.length, 1);
  assert.equal([mail!.from, mail!.to], ["no-reply@example.org", ["u1@example.com"]]);
  assert.is(mail!.headers.get("subject"), "Note");
  assert.is(mail!.headers.get("to"), "u1@example.com");
  assert.is(mail!.headers.get("from"), "Tidings <no-reply@example.org>");
  assert.is(mail!.headers.get("auto-submitted"), "auto-generated");
  assert.match(mail!.text, "Your order <42> has left\r\n& more");
  assert.match(mail!.html, "Your order &#60;42&#62; has left<br>&#38; more");
  const row = await s.row("u1");
  assert.is(mail!.headers.get("message-id"), `<${row.message_id}>`);
  assert.match(String(row.message_id), /@example\.org$/);
  assert.ok(row.sent_at);
  await eventually(() => {
    const told = ear.envelopes.filter(({ payload }) => (payload as { type?: string })?.type === "notification_update");
    assert.equal(told, [
      {
        type: "notify",
        group: "user_u1",
        payload: { type: "notification_update", data: { notification_id: 1, status: "emailed" } },
      },
    ]);
  });
  await mailer.stop();
  await ear.stop();
  assert.equal(s.results, ["sent"]);
  assert.equal(s.warnings, []);
});

test("what is due of one user goes into one message, and only of that user", async () => {
  await s.notify("u1", "first", "second", "third");
  await s.notify("u2", "other");
  s.mailer();
  await eventually(async () => assert.equal(await s.states("u1"), ["1:sent", "2:sent", "3:sent"]));
  await eventually(async () => assert.equal(await s.states("u2"), ["1:sent"]));
  assert.is(s.server.mails.length, 2);
  const digest = s.server.mails.find(({ to }) => to[0] === "u1@example.com")!;
  assert.is(digest.headers.get("subject"), "3 new notifications");
  assert.match(digest.text, /first.*second.*third/s);
  assert.not.match(digest.text, "other");
});

test("a read before the delay has passed cancels it, and so does archiving", async () => {
  await s.notify("u1", "read", "archived", "unread");
  await s.sql`select tidings.mark('u1', 1, 'read'), tidings.mark('u1', 2, 'archived')`;
  s.mailer({ delaySeconds: 1 });
  await eventually(async () => assert.equal(await s.states("u1"), ["1:cancelled", "2:cancelled", "3:sent"]));
  assert.is(s.server.mails.length, 1);
  assert.not.match(s.server.mails[0]!.text, /read\r\n---|archived/);
  assert.equal([(await s.row("u1", 1)).last_error, (await s.row("u1", 2)).last_error], ["read", "archived"]);
});

test("nothing is mailed before its delay; a type may have a delay of its own", async () => {
  await s.sql`insert into tidings.email_delay values ('note', 1)`;
  await s.sql`insert into tidings.preference (user_id, type, email) values ('u1', 'slow', true)`;
  await s.notify("u1", "soon");
  await s.sql`select tidings.send_notification('u1', 'Slow', 'later', 'slow')`;
  const began = Date.now();
  s.mailer({ delaySeconds: 3_600 });
  await eventually(async () => assert.equal(await s.states("u1"), ["1:sent", "2:pending"]));
  assert.ok(Date.now() - began > 700, "before its delay");
  assert.is(s.server.mails.length, 1);
});

test("a nudge finds what was stored since, and what was stored has its delay", async () => {
  await s.sql`insert into tidings.email_delay values ('note', 1)`;
  const mailer = s.mailer({ delaySeconds: 3_600 });
  await eventually(async () => (await lookedAt()) > 0);
  await s.notify("u1", "late");
  mailer.nudge();
  await eventually(async () => assert.equal(await s.states("u1"), ["1:sent"]));

  async function lookedAt(): Promise<number> {
    const [row] =
      await s.sql`select count(*)::int n from pg_stat_activity where datname = current_database() and query like '%email_wait%'`;
    return row!.n;
  }
});

test("the preference is asked again when it is due: switched off meanwhile, nothing is sent", async () => {
  await s.notify("u1", "unwanted");
  await s.notify("u2", "muted");
  await s.sql`update tidings.preference set email = false where user_id = 'u1'`;
  await s.sql`update tidings.preference set mute = true where user_id = 'u2'`;
  s.mailer();
  await eventually(async () =>
    assert.equal([await s.states("u1"), await s.states("u2")], [["1:cancelled"], ["1:cancelled"]]),
  );
  assert.is(s.server.mails.length, 0);
  assert.is((await s.row("u1")).last_error, "switched off");
});

test("without an address it is cancelled, and says so; an address that is none is dead", async () => {
  await s.notify("nobody", "to whom?");
  await s.sql.unsafe(`create or replace function tidings.contact_of(user_id text) returns text language sql stable
    return case user_id when 'evil' then E'a@example.com\\r\\nRCPT TO:<b@example.com>' when 'u1' then 'u1@example.com' end`);
  await s.notify("evil", "x");
  s.mailer();
  await eventually(async () => assert.equal(await s.states("nobody"), ["1:cancelled"]));
  assert.is((await s.row("nobody")).last_error, "no address is known");
  await eventually(async () => assert.equal(await s.states("evil"), ["1:dead"]));
  assert.is(s.server.mails.length, 0);
});

test("a contact function that fails for one user stops nobody else's mail", async () => {
  await s.sql.unsafe(`create or replace function tidings.contact_of(user_id text) returns text language plpgsql stable as $$
    begin if user_id = 'u1' then raise 'broken for u1'; end if; return user_id || '@example.com'; end $$`);
  await s.notify("u1", "x");
  await s.notify("u2", "y");
  s.mailer();
  await eventually(async () => assert.equal(await s.states("u2"), ["1:sent"]));
  assert.equal(await s.states("u1"), ["1:pending"]);
  assert.match(String((await s.row("u1")).last_error), "broken for u1");
});

test("while nothing is due, nothing is written and hardly anything asked", async () => {
  await s.notify("u1", "far off");
  const looks = s.db.connect({ max: 1 });
  const asked: string[] = [];
  const counting = new Proxy(looks, {
    apply(target, self, args: [TemplateStringsArray, ...unknown[]]) {
      asked.push(args[0].join("?"));
      return Reflect.apply(target, self, args);
    },
  });
  const mailer = s.mailer({ sql: counting, delaySeconds: 3_600 });
  await eventually(() => asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  for (let n = 0; n < 100; n++) mailer.nudge();
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(asked.length, 1);
  assert.match(asked[0]!, "email_wait");
  await s.sql.begin("read only", (tx) => tx`select * from tidings.email_wait(3600, 600)`);
});

test("two workers race for 200 mails: each is sent once, to the right user", async () => {
  const users = Array.from({ length: 200 }, (_, n) => `u${n + 1}`);
  await s.sql`insert into tidings.preference (user_id, type, email) select u, 'note', true from unnest(${users}::text[]) u`;
  await s.sql`select tidings.send_notification(u, 'Note', 'for ' || u || '.', 'note') from unnest(${users}::text[]) u`;
  s.mailer();
  s.mailer({ sql: s.db.connect({ max: 5 }) });
  await eventually(
    async () => {
      const [row] = await s.sql`select count(*)::int n from tidings.email where state = 'sent'`;
      return row!.n === 200;
    },
    { deadlineMs: 40_000 },
  );
  assert.equal(s.server.mails.map(({ to }) => to[0]!).sort(), users.map((user) => `${user}@example.com`).sort());
  for (const mail of s.server.mails) assert.match(mail.text, `for ${mail.to[0]!.split("@")[0]}.`);
  assert.ok(s.server.connections < 100, `${s.server.connections} connections`);
});

test.run();
