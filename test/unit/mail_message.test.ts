import { suite } from "uvu";
import * as assert from "uvu/assert";
import { retryDelay } from "../../src/worker/mail.ts";
import { readUnsubscribeLink, unsubscribeLink } from "../../src/worker/mail_link.ts";
import { isAddress, type MailMessage, mailMessage, oneLine, safeUrl } from "../../src/worker/mail_message.ts";

const test = suite("the text of mails");

function message(
  entry: { title?: string | null; message?: string; url?: unknown },
  options: { baseUrl?: string; unsubscribeUrl?: string } = {},
): MailMessage {
  const entries = [
    { id: 1, type: "note", title: "Title", message: "Message", url: undefined, attempts: 1, created_at: "", ...entry },
  ];
  return mailMessage(
    { userId: "1", address: "ann@example.com", entries, messageId: "x@example.org" },
    { from: "no-reply@example.org", baseUrl: options.baseUrl, unsubscribeUrl: options.unsubscribeUrl ?? null },
  );
}

test("a subject is one line without control or direction characters, however it was written", () => {
  assert.is(message({ title: "Hello\r\nBcc: eve@example.com\n\nbody" }).subject, "Hello Bcc: eve@example.com body");
  assert.is(message({ title: "a\u2028b\u0000c\u202egnp.exe\u0085d" }).subject, "a bcgnp.exed");
  assert.is(oneLine("x".repeat(200), 150).length, 150);
  assert.is(oneLine("\ud800 lone", 150), "\ufffd lone");
});

test("without a title the message is the subject, and without either there is one", () => {
  assert.is(message({ title: "" }).subject, "Message");
  assert.is(message({ title: null, message: "first\nsecond" }).subject, "first second");
  assert.is(message({ title: "\u0007", message: "" }).subject, "New notification");
});

test("HTML in titles, messages and links is text", () => {
  const { html, text } = message({
    title: "<script>alert(1)</script>",
    message: `"><img src=x onerror='alert(1)'> & so on`,
    url: `https://example.com/?q="><script>`,
  });
  assert.not.match(html, /<script|<img|onerror='/);
  assert.match(html, "&#60;script&#62;alert(1)&#60;/script&#62;");
  assert.match(html, `href="https://example.com/?q=%22%3E%3Cscript%3E"`);
  assert.match(text, "<script>alert(1)</script>");
});

test("only http and https are linked, paths only where the address of the server is known", () => {
  for (const url of ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)"])
    assert.is(safeUrl(url, "https://app.example.org"), null);
  for (const url of [
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "https://user:pass@example.com/",
    "",
    5,
    null,
  ])
    assert.is(safeUrl(url, "https://app.example.org"), null);
  assert.is(safeUrl("/tasks/1", "https://app.example.org"), "https://app.example.org/tasks/1");
  assert.is(safeUrl("/tasks/1"), null);
  assert.is(safeUrl("https://example.com/a b"), "https://example.com/a%20b");
});

test("a long message is cut between characters, and line ends survive in the text", () => {
  const { text, html } = message({ message: `${"😀".repeat(3_000)}` });
  assert.ok(text.includes(`${"😀".repeat(1_999)}…`));
  assert.not.match(text, "\ufffd");
  assert.match(message({ message: "a\r\nb\rc\n\td" }).text, "a\nb\nc\n\td");
  assert.match(message({ message: "a\nb" }).html, "a<br>b");
  assert.ok(html.length < 6_000);
});

test("an unsubscribe link makes both headers of a one-click unsubscription", () => {
  const url = "https://app.example.org/unsubscribe?user=1&type=note&signature=00";
  const { headers, html, text } = message({}, { unsubscribeUrl: url });
  assert.is(headers["List-Unsubscribe"], `<${url}>`);
  assert.is(headers["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
  assert.match(html, `href="https://app.example.org/unsubscribe?user=1&#38;type=note&#38;signature=00"`);
  assert.match(text, url);
  assert.is(message({}).headers["List-Unsubscribe"], undefined);
});

test("an address is one plain address, or none", () => {
  for (const good of ["ann@example.com", "a.b+c@sub.example.co.uk", "jürgen@exämple.de"])
    assert.ok(isAddress(good), good);
  for (const bad of [
    "",
    "ann",
    "@x",
    "a@",
    "a@b@c",
    "a@b.com, c@d.com",
    "a@b.com;c@d.com",
    "Ann <a@b.com>",
    "a@b.com\r\nBcc: c@d.com",
    "a b@c.com",
    "a@b.com\n",
    "<a@b.com>",
    '"a"@b.com',
    "a@b.com>",
    `${"x".repeat(65)}@b.com`,
    `a@${"x".repeat(300)}`,
  ])
    assert.not.ok(isAddress(bad), JSON.stringify(bad));
});

test("a link reads back as what was signed, and as nothing when anything was changed", async () => {
  const asked = { userId: "ann & ben/ü", types: ["note", "new_message", "a&type=b"] };
  const link = new URL((await unsubscribeLink("key", "https://app.example.org/base/", asked))!);
  assert.is(link.origin + link.pathname, "https://app.example.org/base/unsubscribe");
  assert.equal(await readUnsubscribeLink("key", link.searchParams), asked);
  assert.is(await readUnsubscribeLink("other key", link.searchParams), null);
  for (const change of [
    (query: URLSearchParams) => query.set("user", "ben"),
    (query: URLSearchParams) => query.append("type", "overdue"),
    (query: URLSearchParams) => query.delete("type", "note"),
    (query: URLSearchParams) => query.set("signature", `${query.get("signature")!.slice(0, -1)}x`),
    (query: URLSearchParams) => query.set("signature", "0".repeat(64)),
    (query: URLSearchParams) => query.delete("signature"),
  ]) {
    const forged = new URLSearchParams(link.searchParams);
    change(forged);
    assert.is(await readUnsubscribeLink("key", forged), null, forged.toString());
  }
});

test("a link too long for a header is none", async () => {
  const types = Array.from({ length: 5 }, (_, n) => `${n}`.repeat(255));
  assert.is(await unsubscribeLink("key", "https://example.org", { userId: "1", types }), null);
});

test("the waits between attempts double up to four hours, with jitter in their upper half", () => {
  assert.equal(
    [1, 2, 3].map((n) => retryDelay(n, 60_000, () => 0)),
    [30_000, 60_000, 120_000],
  );
  assert.equal(
    [1, 2, 3].map((n) => retryDelay(n, 60_000, () => 0.999999)),
    [60_000, 120_000, 240_000],
  );
  assert.is(
    retryDelay(1_000, 60_000, () => 1 - 1e-12),
    4 * 3_600_000,
  );
});

test.run();
