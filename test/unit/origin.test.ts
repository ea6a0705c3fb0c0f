/** Which pages pass: the list, the server's own host, localhost on the embedded database, and what `*` does not admit. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { admissible, type Credential, originAllowed, parseOrigins } from "../../src/auth/origin.ts";
import type { Found } from "../../src/auth/place.ts";
import { TidingsError } from "../../src/errors.ts";

const test = suite("origin");

interface Request {
  list?: string;
  embedded?: boolean;
  origin: string | null;
  host?: string | null;
  proto?: string;
  credential?: Credential;
}
const passes = (r: Request): boolean =>
  originAllowed(
    parseOrigins(r.list ?? "", r.embedded ?? false),
    r.origin,
    r.host === undefined ? "api.example.com" : r.host,
    r.proto ?? "https",
    r.credential ?? "cookie",
  );

test("a request without Origin is no browser's and passes", () => {
  assert.ok(passes({ origin: null, host: null }));
});

test("the server's own host and port pass, in any case and with the default port written out", () => {
  assert.ok(passes({ origin: "https://api.example.com" }));
  assert.ok(passes({ origin: "https://API.example.com:443" }));
  assert.ok(passes({ origin: "https://api.example.com", host: "Api.Example.com:443" }));
  assert.ok(passes({ origin: "http://127.0.0.1:8000", host: "127.0.0.1:8000", proto: "http" }));
  assert.ok(passes({ origin: "http://[::1]:8000", host: "[::1]:8000", proto: "ws:" }));
});

test("another port, another host or a host that only begins alike is foreign", () => {
  assert.not(passes({ origin: "https://api.example.com:8443" }));
  assert.not(passes({ origin: "https://example.com" }));
  assert.not(passes({ origin: "https://api.example.com.evil.test" }));
  assert.not(passes({ origin: "http://127.0.0.1:3000", host: "127.0.0.1:8000", proto: "http" }));
  assert.not(passes({ origin: "https://api.example.com", host: null }));
});

test("behind a proxy that ends TLS the page is https while we are reached over http", () => {
  assert.ok(passes({ origin: "https://api.example.com", proto: "http" }));
  assert.ok(passes({ origin: "http://api.example.com", proto: "http" }));
});

test("where we are reached over https, the plain http page of the same host is foreign", () => {
  assert.not(passes({ origin: "http://api.example.com", proto: "https" }));
  assert.not(passes({ origin: "http://api.example.com", proto: "wss" }));
});

test("a listed origin passes with a cookie, compared normalised", () => {
  const list = "https://App.example.com:443/, http://dev.example.com:3000, capacitor://LocalHost";
  assert.ok(passes({ list, origin: "https://app.example.com" }));
  assert.ok(passes({ list, origin: "http://dev.example.com:3000" }));
  assert.ok(passes({ list, origin: "capacitor://localhost" }));
  assert.not(passes({ list, origin: "http://app.example.com" }));
  assert.not(passes({ list, origin: "http://dev.example.com" }));
  assert.ok(passes({ list, origin: "https://api.example.com" }), "our own page passes beside a list");
});

test("an empty list admits any localhost port on the embedded database, and only there", () => {
  for (const origin of ["http://localhost:5173", "https://localhost", "http://127.0.0.1:1", "http://[::1]:3000"]) {
    assert.ok(passes({ embedded: true, origin }), origin);
    assert.not(passes({ embedded: false, origin }), origin);
    assert.not(passes({ embedded: true, list: "https://a.test", origin }), `${origin} beside a list`);
  }
  for (const origin of [
    "http://localhost.evil.test",
    "http://127.0.0.2",
    "capacitor://localhost",
    "http://evil.test",
  ]) {
    assert.not(passes({ embedded: true, origin }), origin);
  }
});

test("* admits explicit tokens from anywhere, never the cookie", () => {
  for (const origin of ["https://anywhere.test", "null", "capacitor://localhost"]) {
    assert.ok(passes({ list: "*", origin, credential: "explicit" }), origin);
    assert.not(passes({ list: "*", origin, credential: "cookie" }), origin);
  }
});

test("a page listed beside * may use the cookie", () => {
  assert.ok(passes({ list: "*,https://app.test", origin: "https://app.test" }));
  assert.not(passes({ list: "*,https://app.test", origin: "https://other.test" }));
});

test("the origin null is refused without *", () => {
  for (const credential of ["cookie", "explicit"] as const) {
    assert.not(passes({ origin: "null", credential, embedded: true }));
    assert.not(passes({ origin: "null", credential, host: "null" }));
  }
});

test("what is no origin is refused, also with *", () => {
  for (const origin of ["", "rubbish", "https://", "https://a.test/path", "https://u@api.example.com", "http://a b"]) {
    assert.not(passes({ origin, list: "*", credential: "explicit" }), origin);
  }
  assert.not(passes({ origin: "https://api.example.com", host: "api.example.com/x" }));
});

test("a bad entry is a configuration error that names every one of them", () => {
  const bad = ["localhost:3000", "https://*.example.com", "https://a.test/path", "example.com", "wss://a.test", "null"];
  for (const entry of bad) {
    try {
      parseOrigins(`https://fine.test, ${entry}`, false);
      assert.unreachable(entry);
    } catch (error) {
      if (!(error instanceof TidingsError)) throw error;
      assert.is(error.code, "configuration");
      assert.match(error.message, JSON.stringify(entry));
      assert.not.match(error.message, "fine.test");
    }
  }
  assert.throws(() => parseOrigins("one,two", false), /"one", "two"/);
});

test("spaces and empty entries in the list do not matter", () => {
  assert.equal(parseOrigins(" , https://a.test ,, ", true), { allowed: ["https://a.test"], anyLocalhost: false });
  assert.equal(parseOrigins("  ", true), { allowed: [], anyLocalhost: true });
});

const cookie: Found = { token: "c", place: "cookie" };
const ticket: Found = { token: "t", place: "ticket" };

test("under * the cookie sent along by a foreign page is left out, and alone it is refused", () => {
  const explicitOnly = (credential: Credential): boolean => credential === "explicit";
  assert.equal(admissible([cookie, ticket], explicitOnly), [ticket]);
  assert.is(admissible([cookie], explicitOnly), undefined);
  assert.equal(admissible([], explicitOnly), []);
});

test("a page of ours keeps all it sent, a foreign one is refused", () => {
  assert.equal(
    admissible([cookie, ticket], () => true),
    [cookie, ticket],
  );
  assert.is(
    admissible([ticket], () => false),
    undefined,
  );
});

test.run();
