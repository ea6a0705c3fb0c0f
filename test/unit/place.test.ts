/** Where a request's token is found, which subprotocol answers, and which bad token ends the search. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  authenticate,
  type Found,
  type Offer,
  type Place,
  restOffer,
  socketOffer,
  streamOffer,
} from "../../src/auth/place.ts";
import { type Identity, signToken } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";

const test = suite("place");
const jwt = await signToken("a secret of sixteen", { user_id: 7 }, 60);
const other = await signToken("a secret of sixteen", { user_id: 8 }, 60);
const unsigned = `${btoa('{"alg":"none"}').replaceAll("=", "")}.${btoa('{"sub":"1"}').replaceAll("=", "")}.`;

const url = (query = ""): URL => new URL(`http://localhost/ws/notifications/${query}`);
const offer = (protocols: string): Offer => socketOffer(new Headers({ "sec-websocket-protocol": protocols }), url());
const tokens = (found: readonly Found[]): string[] => found.map((each) => each.token);

test("a lone JWT is the token and is selected as it is", () => {
  assert.equal(offer(jwt), { candidates: [{ token: jwt, place: "subprotocol" }], protocol: jwt });
});

test("bearer.<jwt> beside tidings.v1 is the token, tidings.v1 is selected, in either order", () => {
  for (const items of [`tidings.v1, bearer.${jwt}`, `bearer.${jwt}, tidings.v1`]) {
    assert.equal(offer(items), { candidates: [{ token: jwt, place: "subprotocol" }], protocol: "tidings.v1" });
  }
});

test("a lone bearer.<jwt> is selected as it is", () => {
  assert.equal(offer(`bearer.${jwt}`), {
    candidates: [{ token: jwt, place: "subprotocol" }],
    protocol: `bearer.${jwt}`,
  });
});

test("of the pair bearer, <jwt> the token is the second and the first is selected", () => {
  assert.equal(offer(`bearer, ${jwt}`), { candidates: [{ token: jwt, place: "subprotocol" }], protocol: "bearer" });
  assert.equal(tokens(offer(`Bearer, ${jwt}`).candidates), [jwt]);
});

test("a JWT beside any other protocol is the token and the other one is selected", () => {
  assert.equal(tokens(offer(`access_token, ${jwt}`).candidates), [jwt]);
  assert.is(offer(`access_token, ${jwt}`).protocol, "access_token");
  assert.is(offer(`${jwt}, chat`).protocol, "chat");
});

test("a space after the comma makes no difference", () => {
  assert.equal(offer(`bearer,${jwt}`), offer(`bearer, ${jwt}`));
  assert.equal(offer(`tidings.v1,bearer.${jwt},x`), offer(`tidings.v1 , bearer.${jwt} ,  x`));
});

test("what stands behind bearer is a token even when it is none, so that it is refused with 4401", () => {
  assert.equal(offer("bearer, rubbish"), {
    candidates: [{ token: "rubbish", place: "subprotocol" }],
    protocol: "bearer",
  });
  assert.equal(offer("bearer.rubbish, tidings.v1"), {
    candidates: [{ token: "rubbish", place: "subprotocol" }],
    protocol: "tidings.v1",
  });
});

test("a real JWT in the offer goes before what merely stands behind bearer", () => {
  assert.equal(offer(`bearer, tidings.v1, ${jwt}`), {
    candidates: [{ token: jwt, place: "subprotocol" }],
    protocol: "bearer",
  });
});

test("a lone item that is no JWT is a protocol and no token, and is selected", () => {
  for (const item of ["tidings.v1", "rubbish", "a.b.c", "bearer", "e30.e30.e30", "eyJhbGciOjd9.e30.e30"]) {
    assert.equal(offer(item), { candidates: [], protocol: item }, item);
  }
});

test("an unsigned JWT counts as a token, so that it is refused rather than passed over", () => {
  assert.equal(tokens(offer(unsigned).candidates), [unsigned]);
});

test("no offer, and an empty one, select nothing", () => {
  assert.equal(socketOffer(new Headers(), url()), { candidates: [], protocol: undefined });
  assert.equal(offer(" , ,"), { candidates: [], protocol: undefined });
});

const everywhere = new Headers({
  "sec-websocket-protocol": jwt,
  authorization: "Bearer from-authorization",
  cookie: "access=from-cookie",
});
const query = "?token=from-query&ticket=from-ticket";
const places = (found: readonly Found[]): Place[] => found.map((each) => each.place);

test("a socket's token is looked for in the order of the contract", () => {
  const { candidates } = socketOffer(everywhere, url(query));
  assert.equal(places(candidates), ["subprotocol", "authorization", "cookie", "ticket", "query"]);
  assert.equal(tokens(candidates), [jwt, "from-authorization", "from-cookie", "from-ticket", "from-query"]);
});

test("an SSE stream has no subprotocol, REST neither a ticket nor a query", () => {
  assert.equal(places(streamOffer(everywhere, url(query))), ["authorization", "cookie", "ticket", "query"]);
  assert.equal(places(restOffer(everywhere)), ["authorization", "cookie"]);
});

test("empty places hold no token", () => {
  const headers = new Headers({ authorization: "Bearer ", cookie: "access=", "sec-websocket-protocol": "" });
  assert.equal(socketOffer(headers, url("?token=&ticket=")).candidates, []);
});

test("the scheme Bearer is read in any case, other schemes are not ours", () => {
  const read = (authorization: string): string[] => tokens(restOffer(new Headers({ authorization })));
  assert.equal(read(`bearer ${jwt}`), [jwt]);
  assert.equal(read(`BEARER   ${jwt} `), [jwt]);
  assert.equal(read("Basic dXNlcjpwYXNz"), []);
  assert.equal(read(jwt), []);
});

test("the cookie access is read among others, quoted, encoded, and the first of several", () => {
  const read = (cookie: string): string[] => tokens(restOffer(new Headers({ cookie })));
  assert.equal(read(`theme=dark; access=${jwt}; refresh=x`), [jwt]);
  assert.equal(read(`theme=dark;access="${jwt}"`), [jwt]);
  assert.equal(read("access=a%2Eb%2Ec"), ["a.b.c"]);
  assert.equal(read("access=100%"), ["100%"]);
  assert.equal(read("access=one; access=two"), ["one"]);
  assert.equal(read(" access = spaced "), ["spaced"]);
  assert.equal(read("access=a=b=="), ["a=b=="]);
  assert.equal(read("xaccess=1; Access=2; access_token=3; access; ;=;"), []);
});

const identity = (userId: string): Identity => ({ userId, claim: userId, expiresAt: 1, issuedAt: 0, scopes: [] });
const at = (place: Place, token: string): Found => ({ token, place });
const check = async ({ token }: Found): Promise<Identity> => {
  if (token === "bad") throw new TidingsError("unauthenticated", "bad token");
  if (token === "down") throw new TidingsError("unavailable", "keys down");
  return identity(token);
};
const codeOf = async (candidates: readonly Found[]): Promise<string> => {
  try {
    return (await authenticate(candidates, check)).identity.userId;
  } catch (error) {
    return error instanceof TidingsError ? error.code : String(error);
  }
};

test("the first good token decides, and its place is told", async () => {
  assert.equal(await authenticate([at("cookie", "ann"), at("query", "ben")], check), {
    identity: identity("ann"),
    place: "cookie",
  });
});

test("a bad subprotocol or Authorization decides, whatever follows", async () => {
  for (const place of ["subprotocol", "authorization"] as const) {
    assert.is(await codeOf([at(place, "bad"), at("cookie", "ann"), at("query", "ann")]), "unauthenticated", place);
  }
});

test("a bad cookie falls through to what follows", async () => {
  assert.equal(await authenticate([at("cookie", "bad"), at("ticket", "ann")], check), {
    identity: identity("ann"),
    place: "ticket",
  });
  assert.is(await codeOf([at("cookie", "bad"), at("query", "bad")]), "unauthenticated");
  assert.is(await codeOf([at("cookie", "bad")]), "unauthenticated");
});

test("a spent ticket decides", async () => {
  assert.is(await codeOf([at("ticket", "bad"), at("query", "ann")]), "unauthenticated");
});

test("keys out of reach are no verdict on a cookie: nothing else is tried", async () => {
  assert.is(await codeOf([at("cookie", "down"), at("query", "ann")]), "unavailable");
});

test("no candidate is unauthenticated", async () => {
  assert.is(await codeOf([]), "unauthenticated");
});

test("of two JWTs offered as subprotocols the first decides", async () => {
  assert.equal(tokens(offer(`${jwt}, ${other}`).candidates), [jwt, other]);
  assert.is(offer(`${jwt}, ${other}`).protocol, jwt);
});

test.run();
