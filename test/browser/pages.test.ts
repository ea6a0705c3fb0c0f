/** How the page and the bell are served: headers, freshness, and who may have a token for a demo user. No browser needed. */
import { request } from "node:http";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance } from "../helpers/instance.ts";
import { buildPages } from "./browser.ts";

const test = suite("pages");
let db: TestDatabase;
let server: Instance;
let real: Instance;
let bare: Instance;

test.before(async () => {
  buildPages();
  db = await database();
  [server, real, bare] = await Promise.all([
    instance(db.url, { embedded: true, env: { ALLOWED_ORIGINS: "https://demo.example.com" } }),
    instance(db.url),
    instance(db.url, { env: { DOMAIN: "off" } }),
  ]);
});
test.after(async () => {
  await Promise.all([server?.stop(), real?.stop(), bare?.stop()]);
  await db?.drop();
});

/** As a page somewhere else would ask; fetch lets nobody choose a Host. */
function ask(
  headers: Record<string, string>,
  body: string = '{"user":"ben"}',
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(`${server.url}/demo/token`, { method: "POST", headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      answer.on("end", () => resolve({ status: answer.statusCode!, text }));
    });
    asked.on("error", reject).end(body);
  });
}

test("the bell is a script any page may load, fresh on each use and cheap when nothing changed", async () => {
  for (const { url } of [server, real, bare]) {
    const first = await fetch(`${url}/bell.js`);
    assert.is(first.status, 200);
    assert.is(first.headers.get("content-type"), "text/javascript; charset=utf-8");
    assert.is(first.headers.get("access-control-allow-origin"), "*");
    assert.is(first.headers.get("cache-control"), "no-cache");
    assert.match(await first.text(), "tidings-bell");
    const etag = first.headers.get("etag")!;
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const again = await fetch(`${url}/bell.js`, { headers: { "if-none-match": known } });
      assert.equal([again.status, await again.text()], [304, ""]);
    }
    assert.is((await fetch(`${url}/bell.js`, { headers: { "if-none-match": '"other"' } })).status, 200);
  }
});

test("the page runs nothing but its own script, and cannot be framed", async () => {
  const page = await fetch(`${server.url}/`);
  assert.is(page.headers.get("content-type"), "text/html; charset=utf-8");
  const policy = page.headers.get("content-security-policy")!;
  for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"]) assert.match(policy, part);
  assert.not.match(policy, "unsafe");
  const files = [...(await page.text()).matchAll(/(?:href|src)="([^":]+)"/g)].map(([, file]) => file!);
  assert.equal(files, ["demo.css", "demo.js"]);
  for (const file of files) assert.is((await fetch(`${server.url}/${file}`)).status, 200);
});

test("without the reference domain there is the bell and no page", async () => {
  for (const path of ["/", "/demo.js", "/demo.css"]) assert.is((await fetch(bare.url + path)).status, 404);
});

test("tokens for demo users exist on the embedded database alone", async () => {
  for (const { url } of [real, bare]) {
    const answer = await fetch(`${url}/demo/token`, { method: "POST", body: '{"user":"ann"}' });
    assert.is(answer.status, 404);
  }
  assert.match(await (await fetch(`${real.url}/`)).text(), 'data-tokens="pasted"');
  assert.match(await (await fetch(`${server.url}/`)).text(), 'data-tokens="given"');
});

test("a token is given to the server's own page and to this machine, and it is the user's", async () => {
  const { host } = new URL(server.url);
  for (const headers of [
    { host },
    { host, origin: server.url },
    { host: "localhost:8000", origin: "http://localhost:8000" },
    { host: "[::1]:8000" },
    { host: "demo.example.com", origin: "https://demo.example.com" },
  ] as Record<string, string>[]) {
    const { status, text } = await ask(headers);
    assert.is(status, 200, JSON.stringify(headers));
    const { token, user } = JSON.parse(text);
    assert.equal(user, { id: 2, username: "ben" });
    assert.is((await server.service.verify(token)).userId, "2");
  }
});

test("pages of elsewhere, and names that only resolve here, get none", async () => {
  const { host } = new URL(server.url);
  for (const headers of [
    { host, origin: "https://evil.example" },
    { host, origin: "null" },
    { host: "evil.example:8000", origin: "http://evil.example:8000" },
    { host: "evil.example" },
    { host: "127.0.0.1.evil.example" },
    { host: "evildemo.example.com", origin: "http://evildemo.example.com" },
  ] as Record<string, string>[]) {
    const { status, text } = await ask(headers);
    assert.is(status, 403, JSON.stringify(headers));
    assert.not.match(text, "eyJ");
  }
});

test("only the four demo users have tokens", async () => {
  const { host } = new URL(server.url);
  for (const body of ['{"user":"root"}', '{"user":1}', "{}", "null", "no json", ""]) {
    assert.is((await ask({ host }, body)).status, 422, body);
  }
  assert.is((await ask({ host }, `{"user":"${"x".repeat(2_000)}"}`)).status, 413);
});

test.run();
