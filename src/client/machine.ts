/**
 * The connection as a pure function: (model, event) -> (model, effects). No timer, socket or clock in here.
 * The table is total: every state answers every event, so nothing is undecided and nothing throws.
 * It promises one attempt at a time, a pause while offline, WebSocket first with SSE as the way round, one new token
 * per refusal, and that `closed` is the end. What the effects do is connection.ts's business.
 */
import { reactionTo } from "../protocol/close.ts";

/** `waiting`: for the backoff. `paused`: for the network. `failed`: until `start` is asked for again. */
export type State = "idle" | "preparing" | "opening" | "open" | "waiting" | "paused" | "failed" | "closed";
export type Way = "websocket" | "sse";

export interface Model {
  readonly state: State;
  /** What was asked for; only `auto` changes between the two. */
  readonly mode: "auto" | Way;
  readonly way: Way;
  /** Attempts this way, one after the other, that were cut before the first frame. */
  readonly misses: number;
  /** A socket was held since the network last changed: then a few failures say nothing against sockets. */
  readonly held: boolean;
  readonly online: boolean;
  /** A new token was fetched after a refusal and has not yet held a stable connection. */
  readonly renewed: boolean;
  /** The close code that ended in `failed`, else null. */
  readonly failure: number | null;
}

/**
 * `prepared`: token and cursor are there. `ready`: the first frame. `stable`: held long enough. `elapsed`: the backoff.
 * `silent`: no sign of life in time. `reopen`: again at the cursor (a gap; another tab takes or leaves the lead).
 * `renewed`: a new token is there before the old one ends. `probe`: time to try sockets again.
 */
export type Event =
  | "start"
  | "prepared"
  | "ready"
  | "stable"
  | "elapsed"
  | "silent"
  | "reopen"
  | "renewed"
  | "probe"
  | "online"
  | "offline"
  | "visible"
  | "closed"
  | "stop";

/**
 * `refresh` is `prepare` with a new token. `authenticate` sends it on the open socket. `poke` asks for a sign of life now.
 * `settle` resets the backoff. `wait` and `rest` (longer) end in `elapsed`.
 */
export type Effect = "prepare" | "refresh" | "open" | "close" | "authenticate" | "poke" | "settle" | "wait" | "rest";

export type Transition = readonly [Model, readonly Effect[]];
type Step = (model: Model, code: number) => Transition;

/** The model to begin with; `sockets` false means the platform has none. */
export function initial(mode: "auto" | Way, sockets: boolean): Model {
  const asked = sockets ? mode : "sse";
  return {
    state: "idle",
    mode: asked,
    way: asked === "auto" ? "websocket" : asked,
    misses: 0,
    held: false,
    online: true,
    renewed: false,
    failure: null,
  };
}

/** The step into a state, with what has to be done and what else changes. */
const into =
  (state: State, effects: readonly Effect[], change: Partial<Model> = {}): Step =>
  (model) => [{ ...model, ...change, state }, effects];
/** The step that stays and only does or changes something. */
const here =
  (change: Partial<Model>, ...effects: Effect[]): Step =>
  (model) => [{ ...model, ...change }, effects];

const stay: Step = (model) => [model, []];
const prepare = into("preparing", ["prepare"]);
const reopen = into("preparing", ["close", "prepare"]);
const poke: Step = (model) => [model, ["poke"]];
// A new network says nothing about sockets yet.
const NEW_NETWORK = { online: true, held: false };
const resume = into("preparing", ["prepare"], NEW_NETWORK);

const ready: Step = (model) => [
  { ...model, state: "open", misses: 0, held: model.held || model.way === "websocket" },
  [],
];

const renewed: Step = (model) => (model.way === "websocket" ? [model, ["authenticate"]] : reopen(model, 0));

const probe: Step = (model) =>
  model.mode === "auto" && model.way === "sse"
    ? reopen({ ...model, way: "websocket", misses: patience(model) - 1 }, 0)
    : [model, []];

/** How many sockets may fail in a row before the way round is taken. */
function patience(model: Model): number {
  return model.held ? 5 : 2;
}

/** Counts an attempt that never came to a frame, and turns to the other way when it is time. */
function missed(model: Model): Model {
  if (model.mode !== "auto") return model;
  if (model.way === "sse") return { ...model, way: "websocket", misses: patience(model) - 1 };
  const misses = model.misses + 1;
  return misses < patience(model) ? { ...model, misses } : { ...model, way: "sse", misses: 0 };
}

/** What follows the end of an attempt or of an open stream: the close-code table, then the network. */
const ended: Step = (model, code) => {
  const reaction = reactionTo(code);
  if (reaction === "stop" || (reaction === "reauthenticate" && model.renewed)) {
    return [{ ...model, state: "failed", failure: code }, ["close"]];
  }
  if (reaction === "reauthenticate") {
    return [{ ...model, state: "preparing", renewed: true }, ["close", "refresh"]];
  }
  if (!model.online) return [{ ...model, state: "paused" }, ["close"]];
  return [{ ...model, state: "waiting" }, ["close", reaction === "backoff" ? "rest" : "wait"]];
};

/** The same for an attempt that never came to a frame. */
const cut: Step = (model, code) => {
  // A code of the server's own proves that the way is passable.
  if (code > 4000 || code === 1001 || code === 1012 || code === 1013) return ended(model, code);
  const next = missed(model);
  const fallsBack = model.way === "websocket" && next.way === "sse" && model.online;
  return (fallsBack ? reopen : ended)(next, code);
};

const still = {
  start: stay,
  prepared: stay,
  ready: stay,
  stable: stay,
  elapsed: stay,
  silent: stay,
  reopen: stay,
  renewed: stay,
  probe: stay,
  online: here(NEW_NETWORK),
  offline: here({ online: false }),
  visible: stay,
  closed: stay,
  stop: into("closed", ["close"]),
} satisfies Record<Event, Step>;

/** Every state's answer to every event. */
export const TABLE: Readonly<Record<State, Readonly<Record<Event, Step>>>> = {
  idle: { ...still, start: prepare },
  preparing: { ...still, prepared: into("opening", ["open"]), closed: ended, silent: ended },
  opening: { ...still, ready, closed: cut, silent: cut, reopen },
  open: {
    ...still,
    stable: here({ renewed: false }, "settle"),
    closed: ended,
    silent: ended,
    reopen,
    renewed,
    probe,
    online: here(NEW_NETWORK, "poke"),
    visible: poke,
  },
  waiting: {
    ...still,
    start: prepare,
    elapsed: prepare,
    online: resume,
    visible: prepare,
    offline: into("paused", [], { online: false }),
  },
  paused: { ...still, start: prepare, online: resume, visible: prepare },
  failed: { ...still, start: into("preparing", ["prepare"], { misses: 0, renewed: false, failure: null }) },
  closed: { ...still, online: stay, offline: stay, stop: stay },
};

/** One step; `code` belongs to `closed`. Never throws; an event that means nothing in a state changes nothing. */
export function step(model: Model, event: Event, code = 0): Transition {
  return TABLE[model.state][event](model, code);
}
