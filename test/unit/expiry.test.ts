// The timer that ends a stream at its token's `exp`.
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { Identity } from "../../src/auth/token.ts";
import { watchExpiry } from "../../src/http/expiry.ts";

const test = suite("expiry");
const until = (ms: number): Identity =>
  ({ userId: "1", claim: 1, scopes: [], issuedAt: 0, expiresAt: (Date.now() + ms) / 1_000 }) as Identity;
const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("it calls once, when the last token it was told of expires", async () => {
  let calls = 0;
  const expiry = watchExpiry(until(50), () => calls++);
  expiry.renew(until(350));
  await later(250);
  assert.is(calls, 0);
  await later(400);
  assert.is(calls, 1);
});

test("a token renewed after the stream has closed arms nothing", async () => {
  let calls = 0;
  const expiry = watchExpiry(until(10_000), () => calls++);
  expiry.stop();
  expiry.renew(until(1));
  await later(300);
  assert.is(calls, 0);
});

test.run();
