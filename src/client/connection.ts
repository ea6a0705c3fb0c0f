/**
 * Runs the machine: owns the one transport and every timer, turns what happens into events and effects into deeds.
 * A timer belongs to the state it was set in and dies with it; an answer that comes too late for its state is dropped.
 * After `stop` no timer, listener or transport is left.
 */
import { backoff } from "../backoff.ts";
import { type Effect, type Event, initial, type Model, step, type Way } from "./machine.ts";
import type { Platform } from "./platform.ts";
import { type RequestError, statusToCode } from "./rest.ts";
import type { AnyFrame, Sink, Transport } from "./transport.ts";

/** Milliseconds. */
const PREPARING = 20_000;
const OPENING = 10_000;
const OPENING_TAB = 3_000;
const STABLE = 5_000;
const ANSWER = 10_000;
const REST = 5_000;
const PROBE = 300_000;
const LONGEST_TIMER = 2 ** 31 - 1;

export interface ConnectionOptions {
  platform: Platform;
  transport: "auto" | Way;
  /** Gets token and cursor in hand; throws RequestError. */
  prepare(fresh: boolean): Promise<void>;
  open(way: Way, sink: Sink): Transport;
  /** Fetches a new token; undefined when there is none to be had. */
  renew(): Promise<string | undefined>;
  /** When the token ends, in milliseconds since 1970. */
  expiresAt(): number | undefined;
  onFrame(frame: AnyFrame): void;
  onChange(model: Model, kind: Transport["kind"] | undefined): void;
  /** The tab that holds the connection gives no sign of life. */
  onDeadLeader(): void;
}

/** A connection at rest, as the function it takes events by: `start` begins, `stop` ends it for good. */
export function connection(options: ConnectionOptions): (event: Event, code?: number) => void {
  const { platform } = options;
  const delays = backoff();
  const timers = new Map<string, unknown>();
  let model = initial(options.transport, !!platform.WebSocket);
  let transport: Transport | undefined;
  let generation = 0;
  let token: string | undefined;
  let heartbeatMs = 25_000;
  let heardAt = 0;
  let waitMs = 0;
  let probeMs = PROBE;

  function arm(name: string, run: () => void, ms: number): void {
    platform.clearTimeout(timers.get(name));
    timers.set(name, platform.setTimeout(run, Math.min(ms, LONGEST_TIMER)));
  }
  const later = (event: Event, ms: number): void => arm(event, () => dispatch(event), ms);

  function silent(): void {
    if (transport?.kind === "tab") options.onDeadLeader();
    else dispatch("silent");
  }

  function heard(): void {
    heardAt = platform.now();
    if (model.state === "open") arm("silent", ping, heartbeatMs);
    else if (model.state === "opening") arm("silent", transport?.kind === "tab" ? ping : silent, OPENING);
  }

  function ping(): void {
    transport?.send({ type: "ping" });
    arm("silent", silent, ANSWER);
  }

  /** After sleep or a change of network a stream may be dead without knowing: the clock tells, or a ping does. */
  function poke(): void {
    if (platform.now() - heardAt > heartbeatMs + ANSWER) silent();
    else if (transport?.kind !== "sse") ping();
  }

  function watchToken(after = 0): void {
    const expiresAt = options.expiresAt() ?? 0;
    const left = expiresAt - platform.now();
    // The same end again: the application still has the old token, the server's 4401 will ask for a new one.
    if (left <= 0 || expiresAt <= after || transport?.kind === "tab") return;
    arm("renew", () => void renew(expiresAt), left - Math.min(60_000, left / 5));
  }

  async function renew(old: number): Promise<void> {
    const run = generation;
    token = await options.renew().catch(() => undefined);
    if (!token || run !== generation) return;
    dispatch("renewed");
    if (run === generation) watchToken(old);
  }

  async function prepare(fresh: boolean): Promise<void> {
    const run = generation;
    // Anything else that was thrown has no status: an accident.
    const [event, code] = await options.prepare(fresh).then(
      () => ["prepared", 0] as const,
      ({ status }: RequestError) => ["closed", statusToCode(status)] as const,
    );
    if (run === generation) dispatch(event, code);
  }

  function open(): void {
    const run = ++generation;
    waitMs = 0;
    const here = (): boolean => run === generation;
    transport = options.open(model.way, {
      frame: (frame) => {
        if (!here()) return;
        if (frame?.type === "ready") {
          heartbeatMs = (frame.data as { heartbeat_seconds: number }).heartbeat_seconds * 1000 || heartbeatMs;
          enterOpen();
        }
        heard();
        if (frame) options.onFrame(frame);
      },
      closed: (code, atLeast = 0) => {
        if (!here()) return;
        waitMs = atLeast;
        dispatch("closed", code);
      },
    });
    arm("silent", silent, transport.kind === "tab" ? OPENING_TAB : OPENING);
  }

  function enterOpen(): void {
    // The transport stays: its generation must outlive the change of state.
    dispatch("ready");
    later("stable", STABLE);
    watchToken();
    if (model.way === "sse" && model.mode === "auto" && transport?.kind === "sse") {
      later("probe", probeMs);
      // Where sockets are blocked for good, asking becomes rare.
      probeMs *= 2;
    }
  }

  const effects: Record<Effect, () => void> = {
    prepare: () => void prepare(false),
    refresh: () => void prepare(true),
    open,
    close: () => {
      generation++;
      transport?.close();
      transport = undefined;
    },
    authenticate: () => transport?.send({ type: "auth", token }),
    poke,
    settle: delays.reset,
    wait: () => later("elapsed", Math.max(delays.next(), waitMs)),
    rest: () => later("elapsed", Math.max(delays.next() + REST, waitMs)),
  };

  function dispatch(event: Event, code = 0): void {
    const before = model;
    const [next, todo] = step(model, event, code);
    model = next;
    if (next.state !== before.state) {
      for (const timer of timers.values()) platform.clearTimeout(timer);
      timers.clear();
      if (next.state === "preparing") later("silent", PREPARING);
    }
    for (const effect of todo) effects[effect]();
    if (next !== before) options.onChange(model, transport?.kind);
  }

  return dispatch;
}
