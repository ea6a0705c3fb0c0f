// @timeout 60
// E-mail in a whole server: what SMTP_URL starts, what a stream hears, and the links in the mails.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { createMailer } from "../../src/worker/mail.ts";
import { unsubscribeLink } from "../../src/worker/mail_link.ts";
import { closeClients, sse } from "../helpers/clients.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { type MailServer, mailServer } from "./mail_server.ts";

const test = suite("e-mail of a server");
let db: TestDatabase;
let server: MailServer;
/** With SMTP_URL, and without. */
let mailing: Instance;
let silent: Instance;
let key: string;

test.before(async () => {
  db = await database();
  server = await mailServer();
  await db.sql`insert into app."user" (username, email) values ('ann', 'ann@example.com'), ('ben', null)`;
  silent = await instance(db.url);
  const [row] = await db.sql`select key from tidings.email_key`;
  key = row!.key;
});
test.after(async () => {
  closeClients();
  await Promise.all([mailing?.stop(), silent.stop()]);
  await server.close();
  await db.drop();
});

async function wish(user: string, type: string, email: boolean): Promise<void> {
  await db.sql`insert into tidings.preference (user_id, type, email) values (${user}, ${type}, ${email})
    on conflict on constraint preference_pkey do update set email = excluded.email`;
}

async function wishes(user: string): Promise<Record<string, boolean>> {
  const rows = await db.sql`select type, email from tidings.preference where user_id = ${user}`;
  return Object.fromEntries(rows.map(({ type, email }) => [type, email]));
}

const link = (userId: string, ...types: string[]): Promise<string> =>
  unsubscribeLink(key, silent.url, { userId, types }) as Promise<string>;

test("without SMTP_URL nothing is mailed, and what waits stays as it is", async () => {
  await wish("1", "note", true);
  await db.sql`select tidings.send_notification('1', 'Note', 'waiting', 'note')`;
  await db.sql`update tidings.email set created_at = now() - interval '1 day', next_at = now() - interval '1 day'`;
  await new Promise((resolve) => setTimeout(resolve, 500));
  const [row] = await db.sql`select state from tidings.email where user_id = '1'`;
  assert.equal([row!.state, server.connections], ["pending", 0]);
});

test("with it the mail is sent, the user's streams hear of it on every instance, and it is counted", async () => {
  const stream = await sse(`${silent.url}/sse/notifications/?token=${await token(1)}`);
  mailing = await instance(db.url, {
    env: { SMTP_URL: server.url, MAIL_FROM: "no-reply@example.org", EMAIL_DELAY_SECONDS: "0" },
  });
  await eventually(() => assert.is(server.mails.length, 1));
  const update = await eventually(() => stream.frames.find(({ type }) => type === "notification_update") ?? null);
  assert.equal(update!.data, { notification_id: 1, status: "emailed" });
  assert.equal(server.mails[0]!.to, ["ann@example.com"]);
  assert.is(server.mails[0]!.headers.get("list-unsubscribe"), undefined);
  const began = Date.now();
  await db.sql`select tidings.send_notification('1', 'Note', 'second', 'note')`;
  await eventually(() => assert.is(server.mails.length, 2));
  assert.ok(Date.now() - began < 3_000, "found at the next look only, not by its announcement");
  const operator = { headers: { authorization: `Bearer ${await token("ops", { scope: "metrics" })}` } };
  const metrics = await (await fetch(`${mailing.url}/metrics`, operator)).text();
  assert.match(metrics, 'tidings_emails_total{result="sent"} 2');
});

test("a mail's link unsubscribes from its types in one click, without a token, and from nothing else", async () => {
  await wish("1", "overdue", true);
  const mailer = createMailer({
    sql: db.sql,
    smtpUrl: server.url,
    from: "no-reply@example.org",
    delaySeconds: 0,
    baseUrl: silent.url,
    unsubscribeKey: key,
    log: { warn: () => {} },
  });
  await mailing.stop();
  server.reset();
  await db.sql`select tidings.send_notification('1', 'Note', 'third', 'note')`;
  mailer.start();
  await eventually(() => assert.is(server.mails.length, 1));
  await mailer.stop();
  const { headers, text } = server.mails[0]!;
  assert.is(headers.get("list-unsubscribe-post"), "List-Unsubscribe=One-Click");
  const url = /^<(http[^ >]+)>$/.exec(headers.get("list-unsubscribe") ?? "")?.[1] ?? "none";
  assert.ok(text.replaceAll("\r\n", "").includes(url));
  assert.equal(await wishes("1"), { note: true, overdue: true });

  const answer = await fetch(url, { method: "POST", body: new URLSearchParams({ "List-Unsubscribe": "One-Click" }) });
  assert.equal([answer.status, answer.headers.get("cache-control")], [200, "no-store"]);
  assert.equal(await wishes("1"), { note: false, overdue: true });
  assert.is((await fetch(url, { method: "POST" })).status, 200, "twice is no mistake");
});

test("opening a link changes nothing and shows a button; markup in a type is text", async () => {
  const type = `<script>alert("x")</script>`;
  await wish("2", type, true);
  const url = await link("2", type);
  const answer = await fetch(url);
  const page = await answer.text();
  assert.is(answer.status, 200);
  assert.match(page, /<form method="post"><button>/);
  assert.not.match(page, "<script>");
  assert.match(answer.headers.get("content-security-policy") ?? "", "default-src 'none'");
  assert.match(answer.headers.get("content-security-policy") ?? "", "frame-ancestors 'none'");
  assert.is(answer.headers.get("referrer-policy"), "no-referrer");
  assert.equal(await wishes("2"), { [type]: true });
  assert.is((await fetch(url, { method: "POST" })).status, 200);
  assert.equal(await wishes("2"), { [type]: false });
});

test("a forged link is refused, for another user or type, by another key, and without a signature", async () => {
  await wish("1", "note", true);
  await wish("2", "note", true);
  const genuine = await link("2", "note");
  const forged = [
    genuine.replace("user=2", "user=1"),
    `${genuine}&type=overdue`,
    (await unsubscribeLink("another key", silent.url, { userId: "1", types: ["note"] }))!,
    `${silent.url}/unsubscribe?user=1&type=note`,
    `${silent.url}/unsubscribe`,
    `${silent.url}/unsubscribe?user=1&type=note&signature=%00`,
  ];
  for (const url of forged) {
    for (const method of ["POST", "GET"]) {
      const answer = await fetch(url, { method });
      assert.is(answer.status, 403, `${method} ${url}`);
      assert.is((await answer.json()).code, "forbidden");
    }
  }
  assert.is((await wishes("1")).note, true);
  assert.is((await wishes("2")).note, true);
});

test("what a producer writes into a title reaches no header, no command and no markup of the mail", async () => {
  const attacks = [
    "Hi\r\nBcc: eve@example.com",
    "Hi\nX-Evil: 1\n\n<h1>body</h1>",
    "Hi\r\n.\r\nMAIL FROM:<eve@example.com>\r\nRCPT TO:<eve@example.com>\r\nDATA\r\nspam",
    "=?utf-8?B?QmNjOiBldmVAZXhhbXBsZS5jb20=?=\u2028Bcc: eve@example.com",
  ];
  await wish("1", "note", true);
  for (const [n, attack] of attacks.entries()) {
    server.reset();
    await db.sql`select tidings.send_notification('1', ${attack}, ${`${attack}\r\n.\r\nQUIT`}, 'note', ${db.sql.json({ url: `javascript:alert(${n})` })})`;
    const again = createMailer({
      sql: db.sql,
      smtpUrl: server.url,
      from: "no-reply@example.org",
      delaySeconds: 0,
      unsubscribeKey: key,
      log: { warn: () => {} },
    });
    again.start();
    await eventually(() => assert.is(server.mails.length, 1));
    await again.stop();
    const [mail] = server.mails;
    assert.equal(mail!.to, ["ann@example.com"]);
    assert.equal([...mail!.headers.keys()].sort(), [
      "auto-submitted",
      "content-type",
      "date",
      "from",
      "message-id",
      "mime-version",
      "subject",
      "to",
    ]);
    assert.not.match(mail!.html, /<h1>body|javascript:/);
    assert.not.match(mail!.text, "javascript:");
    assert.match(mail!.text, /\.\r\nQUIT/);
  }
});

test.run();
