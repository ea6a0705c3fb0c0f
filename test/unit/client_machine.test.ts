/** The connection's state machine: every cell of the table, the rules of the contract, and random walks over both. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Effect, type Event, initial, type Model, type State, step, TABLE } from "../../src/client/machine.ts";
import { CLOSE } from "../../src/protocol/close.ts";

const test = suite("the connection machine");

const STATES: State[] = ["idle", "preparing", "opening", "open", "waiting", "paused", "failed", "closed"];
const EVENTS = Object.keys(TABLE.idle) as Event[];
const CODES = [0, 1006, 1011, ...Object.values(CLOSE)];
const begin = initial("auto", true);
const at = (state: State, change: Partial<Model> = {}): Model => ({ ...begin, state, ...change });
const run = (model: Model, ...events: (Event | number)[]): Model =>
  events.reduce<Model>(
    (now, event) => (typeof event === "number" ? step(now, "closed", event)[0] : step(now, event)[0]),
    model,
  );
const effects = (model: Model, event: Event, code = 0): readonly Effect[] => step(model, event, code)[1];

test("the table has a cell for every state and every event, and each gives a model in a known state", () => {
  assert.equal(Object.keys(TABLE).sort(), [...STATES].sort());
  for (const state of STATES) {
    assert.equal(Object.keys(TABLE[state]).sort(), [...EVENTS].sort(), state);
    for (const event of EVENTS) {
      for (const code of CODES) {
        const [next, todo] = step(at(state), event, code);
        assert.ok(STATES.includes(next.state), `${state} × ${event}`);
        assert.ok(Array.isArray(todo), `${state} × ${event}`);
      }
    }
  }
});

test("where each event leads from each state", () => {
  const wanted: Record<State, Partial<Record<Event, State>>> = {
    idle: { start: "preparing", stop: "closed" },
    preparing: { prepared: "opening", silent: "waiting", closed: "waiting", stop: "closed" },
    opening: { ready: "open", silent: "waiting", closed: "waiting", reopen: "preparing", stop: "closed" },
    open: { silent: "waiting", closed: "waiting", reopen: "preparing", stop: "closed" },
    waiting: {
      ...{ start: "preparing", elapsed: "preparing", online: "preparing", visible: "preparing" },
      ...{ offline: "paused", stop: "closed" },
    },
    paused: { start: "preparing", online: "preparing", visible: "preparing", stop: "closed" },
    failed: { start: "preparing", stop: "closed" },
    closed: {},
  };
  for (const state of STATES) {
    for (const event of EVENTS) {
      assert.is(step(at(state), event)[0].state, wanted[state][event] ?? state, `${state} × ${event}`);
    }
  }
});

test("the close codes are obeyed in an open stream", () => {
  const stops = [CLOSE.normal, CLOSE.tooBig, CLOSE.badFrames, CLOSE.forbidden, CLOSE.tooManyStreams];
  for (const code of stops) assert.equal(run(at("open"), code), at("failed", { failure: code }));
  for (const code of [CLOSE.goingAway, CLOSE.restart, CLOSE.noPong, 1006, 1011, 0]) {
    assert.equal(step(at("open"), "closed", code), [at("waiting"), ["close", "wait"]]);
  }
  for (const code of [CLOSE.overloaded, CLOSE.rateLimited]) {
    assert.equal(step(at("open"), "closed", code), [at("waiting"), ["close", "rest"]]);
  }
});

test("a refused token is renewed once; the second refusal is the end, unless a stable connection lay between", () => {
  const once = run(at("open"), CLOSE.unauthenticated);
  assert.equal(effects(at("open"), "closed", CLOSE.unauthenticated), ["close", "refresh"]);
  assert.is(once.state, "preparing");
  assert.is(run(once, CLOSE.unauthenticated).state, "failed");
  assert.is(run(once, "prepared", CLOSE.unauthenticated).failure, CLOSE.unauthenticated);
  assert.is(run(once, "prepared", "ready", CLOSE.unauthenticated).state, "failed", "ready alone proves nothing");
  assert.is(run(once, "prepared", "ready", "stable", CLOSE.unauthenticated).state, "preparing");
});

test("two sockets that never opened lead to SSE at once, and a later probe leads back", () => {
  const first = run(begin, "start", "prepared", 1006);
  assert.is(first.way, "websocket");
  assert.is(first.state, "waiting");
  const second = step(run(first, "elapsed", "prepared"), "closed", 1006);
  assert.is(second[0].way, "sse");
  assert.equal(second[1], ["close", "prepare"]);
  const sse = run(second[0], "prepared", "ready");
  const probing = run(sse, "probe");
  assert.is(probing.way, "websocket");
  assert.is(run(probing, "prepared", "ready").way, "websocket");
  assert.is(run(probing, "prepared", "silent").way, "sse", "one failure sends a probe back");
});

test("a close code of the server's own is no reason to give up sockets", () => {
  for (const code of [CLOSE.goingAway, CLOSE.restart, CLOSE.overloaded, CLOSE.noPong, CLOSE.rateLimited]) {
    assert.is(run(begin, "start", "prepared", code, "elapsed", "prepared", code).way, "websocket");
  }
});

test("where a socket was held, five failures in a row are needed, and a new network starts over", () => {
  let model = run(begin, "start", "prepared", "ready", 1006);
  for (let misses = 0; misses < 4; misses++) model = run(model, "elapsed", "prepared", 1006);
  assert.is(model.way, "websocket");
  assert.is(run(model, "elapsed", "prepared", 1006).way, "sse");
  assert.is(
    run(begin, "start", "prepared", "ready", 1006, "online", "prepared", 1006, "elapsed", "prepared", 1006).way,
    "sse",
  );
});

test("what was asked for by name never changes; without sockets it is SSE", () => {
  for (const mode of ["websocket", "sse"] as const) {
    let model = run(initial(mode, true), "start");
    for (let times = 0; times < 9; times++) model = run(model, "prepared", 1006, "elapsed");
    assert.is(model.way, mode);
    assert.is(run(model, "prepared", "ready", "probe").way, mode);
  }
  assert.is(initial("auto", false).way, "sse");
  assert.is(run(initial("auto", false), "start", "prepared", "ready", "probe").way, "sse");
});

test("offline, an open stream is kept but a lost one waits for the network instead of the clock", () => {
  assert.is(run(at("open"), "offline").state, "open");
  assert.is(run(at("open"), "offline", 1006).state, "paused");
  assert.is(run(at("open"), "offline", 1006, "elapsed").state, "paused");
  assert.is(run(at("open"), "offline", 1006, "online").state, "preparing");
  assert.equal(effects(at("open"), "visible"), ["poke"]);
});

test("a renewed token goes up the socket, while SSE opens anew with it", () => {
  assert.equal(effects(at("open"), "renewed"), ["authenticate"]);
  assert.equal(step(at("open", { way: "sse" }), "renewed"), [at("preparing", { way: "sse" }), ["close", "prepare"]]);
});

test("random walks: what is opened gets closed, closed is the end, failed has a reason, one attempt at a time", () => {
  const seed = Date.now() % 100_000;
  let state = seed;
  const random = (below: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  for (let walk = 0; walk < 400; walk++) {
    let model: Model = initial((["auto", "websocket", "sse"] as const)[random(3)]!, random(5) > 0);
    const { mode } = model;
    let open = 0;
    let preparing = 0;
    const trail: string[] = [];
    for (let move = 0; move < 60; move++) {
      const event = EVENTS[random(EVENTS.length)]!;
      const code = CODES[random(CODES.length)]!;
      const [next, todo] = step(model, event, code);
      trail.push(`${event}${event === "closed" ? code : ""}>${next.state}`);
      const said = `seed ${seed}: ${trail.join(" ")}`;
      for (const effect of todo) {
        if (effect === "close") open = 0;
        if (effect === "open") open++;
        if (effect === "prepare" || effect === "refresh") preparing++;
      }
      if (model.state === "closed") assert.equal([next, todo], [model, []], said);
      assert.ok(open <= 1, said);
      assert.is(open === 1, next.state === "opening" || next.state === "open", said);
      assert.is(next.state === "failed", next.failure !== null && next.state !== "closed", said);
      assert.ok(next.state !== "waiting" || next.online, said);
      if (next.state === "preparing" && model.state !== "preparing") assert.ok(preparing > 0, said);
      if (next.state === "waiting" && model.state !== "waiting") {
        assert.ok(todo.includes("wait") || todo.includes("rest"), said);
      }
      if (mode !== "auto") assert.is(next.way, mode, said);
      if (todo.includes("authenticate")) assert.is(next.state, "open", said);
      preparing = 0;
      model = next;
    }
    // From anywhere but the end there is a way back to an open stream.
    if (model.state !== "closed") {
      assert.is(
        run(model, "online", "start", "reopen", "prepared", "ready").state,
        "open",
        `seed ${seed}: ${trail.join(" ")}`,
      );
    }
  }
});

test.run();
