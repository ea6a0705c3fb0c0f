/**
 * One WebSocket as the way out of a stream, and the way in of its client's frames (CONTRACT section 4).
 * Promises: frames of one client are handled one at a time, in order; a bad, oversize or too frequent frame never
 * reaches `onFrame`; a silent client is closed with 4408, a stuck one with 1013; replies to a client that does not
 * read are dropped, not queued. A class with few fields and nothing allocated until used: 50,000 of these sit idle.
 */
import type { OutFrame, Transport } from "../core/transport.ts";
import { describe, type ErrorCode, TidingsError } from "../errors.ts";
import { parseClientFrame, type StreamKind } from "../protocol/client_frame.ts";
import { CLOSE, type CloseName } from "../protocol/close.ts";
import type { ClientFrame } from "../protocol/frames.ts";
import { Congestion } from "./congestion.ts";
import { FrameLimits, type Verdict } from "./limits.ts";
import type { Log, Peer, PeerEvents } from "./peer.ts";
import { type Beat, sharedWheel, type Wheel } from "./wheel.ts";

/** What a client asks for; pings are answered here. */
export type Command = Exclude<ClientFrame, { type: "ping" }>;

export interface WebSocketOptions {
  readonly kind: StreamKind;
  /**
   * A checked frame. A TidingsError it throws or rejects with is answered by an `error` frame; anything else is
   * logged and closes with 1011.
   */
  onFrame(frame: Command, transport: Transport): void | Promise<void>;
  onOpen(transport: Transport): void;
  /** Exactly once: as soon as this side closes, else when the client does. Also where `onOpen` never came. */
  onClosed(code: number): void;
  readonly log: Log;
  /** Tell the client, by `{"type":"cursor","id":N}`, of entries it is not sent. Default false: nothing is said. */
  readonly cursors?: boolean;
  /** Between two protocol pings, in ms; 25,000. */
  readonly heartbeatMs?: number;
  /** How long a ping may stay unanswered by anything at all, in ms; 20,000. */
  readonly pongMs?: number;
  /** Bytes queued for the client from which it counts as congested; 65,536. */
  readonly highWater?: number;
  /** How long a congested client may take nothing, in ms; 30,000. */
  readonly stuckMs?: number;
  readonly wheel?: Wheel;
  /** The clock of the limits, in ms. */
  readonly now?: () => number;
}

/** Frames held while an earlier one is being handled; more count as over the rate limit. */
const MAX_PENDING = 20;
const INTERNAL_ERROR = 1011;
/** Errors whose text is about the inside, and no client's business. */
const INTERNAL: ReadonlySet<ErrorCode> = new Set(["internal", "database", "configuration"]);
const PONG = '{"type":"pong"}';

/** Makes the two ends of one WebSocket: `events` for the runtime, `transport` for the stream. */
export function createWebSocket(options: WebSocketOptions): { events: PeerEvents; transport: Transport } {
  const socket = new WebSocketTransport(options);
  return { events: socket, transport: socket };
}

/** The text of an `error` frame. */
export function errorFrame(code: string, message: string): string {
  return JSON.stringify({ type: "error", data: { code, message } });
}

class WebSocketTransport implements Transport, PeerEvents, Beat {
  slot = 0;
  readonly #options: WebSocketOptions;
  #peer: Peer | null = null;
  #ended: { readonly code: number; readonly reason: string } | null = null;
  #heard = false;
  #pinged = false;
  #limits: FrameLimits | null = null;
  #congestion: Congestion | null = null;
  #pending = 0;
  #tail: Promise<void> | null = null;

  constructor(options: WebSocketOptions) {
    this.#options = options;
  }

  get kind(): "websocket" {
    return "websocket";
  }

  get congested(): boolean {
    return this.#ended === null && this.#peer !== null && this.#peer.buffered > this.#highWater;
  }

  write(frames: readonly OutFrame[]): void {
    if (this.#ended || !this.#peer) return;
    if (this.#congestion && !this.congested) this.#congestion.clear();
    for (const frame of frames) this.#peer.send(frame.json);
    if (this.congested) this.#congest(this.#peer).watch();
  }

  begin(): void {}

  pass(id: number): void {
    if (this.#options.cursors && !this.#ended) this.#peer?.send(`{"type":"cursor","id":${id}}`);
  }

  drained(): Promise<void> {
    return this.congested && this.#peer ? this.#congest(this.#peer).drained() : Promise.resolve();
  }

  close(cause: CloseName, reason: string = cause): void {
    this.#end(CLOSE[cause], reason);
  }

  open(peer: Peer): void {
    this.#peer = peer;
    if (this.#ended) {
      peer.close(this.#ended.code, this.#ended.reason);
      return;
    }
    // Spread over half a period: those who reconnected together are not pinged together for ever.
    if (peer.ping) this.#wheel.schedule(this, this.#heartbeatMs * (0.5 + Math.random() / 2));
    this.#options.onOpen(this);
  }

  pong(): void {
    this.#heard = true;
  }

  message(text: string | null): void {
    this.#heard = true;
    if (this.#ended) return;
    const now = this.#now();
    this.#limits ??= new FrameLimits(now);
    const verdict = this.#limits.take(now, this.#pending >= MAX_PENDING);
    if (verdict === "pass") this.#read(text, now, this.#limits);
    else this.#over(verdict);
  }

  closed(code: number): void {
    this.#settle(code, "");
  }

  /** The heartbeat: a ping, a look whether anything came back, and so on. */
  beat(): number {
    if (!this.#pinged) {
      this.#pinged = true;
      this.#heard = false;
      this.#peer?.ping?.();
      return this.#pongMs;
    }
    if (!this.#heard) {
      this.close("noPong");
      return 0;
    }
    this.#pinged = false;
    return Math.max(1, this.#heartbeatMs - this.#pongMs);
  }

  #read(text: string | null, now: number, limits: FrameLimits): void {
    const parsed = parseClientFrame(text, this.#options.kind);
    if (!parsed.ok) {
      this.#reply(errorFrame(parsed.code, parsed.message));
      if (limits.bad(now)) this.close("badFrames");
      return;
    }
    const { frame } = parsed;
    if (frame.type === "ping") this.#reply(PONG);
    else if (frame.type === "bare_ping") this.#reply("pong");
    else this.#queue(frame);
  }

  #queue(frame: Command): void {
    this.#pending += 1;
    this.#tail = this.#tail ? this.#tail.then(() => this.#handle(frame)) : this.#handle(frame);
  }

  /** The next frame begins when this one is done, so that two chat messages cannot overtake each other. */
  async #handle(frame: Command): Promise<void> {
    try {
      if (!this.#ended) await this.#options.onFrame(frame, this);
    } catch (error) {
      this.#failed(error, frame.type);
    } finally {
      this.#pending -= 1;
      if (this.#pending === 0) this.#tail = null;
    }
  }

  #failed(error: unknown, type: string): void {
    const { log } = this.#options;
    if (!(error instanceof TidingsError)) {
      log.error({ err: error, type }, "a client frame failed, its socket is closed");
      this.#end(INTERNAL_ERROR, "internal error");
    } else if (INTERNAL.has(error.code)) {
      log.error({ err: error, type }, "a client frame failed");
      this.#reply(errorFrame("unavailable", "Not done: try again later."));
    } else {
      this.#reply(errorFrame(error.code, error.message));
    }
  }

  #over(verdict: Verdict): void {
    if (verdict === "warn") this.#reply(errorFrame("rate_limited", "Too many messages: this one was dropped."));
    if (verdict === "close") this.close("rateLimited");
  }

  #reply(text: string): void {
    if (!this.#ended && !this.congested) this.#peer?.send(text);
  }

  #congest(peer: Peer): Congestion {
    const { stuckMs = 30_000 } = this.#options;
    this.#congestion ??= new Congestion(peer, this.#highWater, stuckMs, this.#wheel, () =>
      this.close("overloaded", "slow_consumer"),
    );
    return this.#congestion;
  }

  #end(code: number, reason: string): void {
    if (this.#settle(code, reason)) this.#peer?.close(code, reason);
  }

  /** @returns false where it was over already */
  #settle(code: number, reason: string): boolean {
    if (this.#ended) return false;
    this.#ended = { code, reason };
    this.#wheel.cancel(this);
    this.#congestion?.release();
    try {
      this.#options.onClosed(code);
    } catch (error) {
      this.#options.log.error({ err: error }, `closing a stream failed: ${describe(error)}`);
    }
    return true;
  }

  get #wheel(): Wheel {
    return this.#options.wheel ?? sharedWheel;
  }

  get #heartbeatMs(): number {
    return this.#options.heartbeatMs ?? 25_000;
  }

  get #pongMs(): number {
    return this.#options.pongMs ?? 20_000;
  }

  get #highWater(): number {
    return this.#options.highWater ?? 65_536;
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }
}
