/**
 * One SSE response as the way out of a stream (CONTRACT section 5). The same frames as on a WebSocket, each
 * `id:` (on the last frame of an entry only) / `data:`, with `event:` where the client asked for names.
 * Promises: no frame can break out of its field, whatever is in it; keep-alives go unqueued to a client that does not
 * read; a stuck one is ended. Before the end of a drain or an overload it says when to come back.
 */
import type { OutFrame, Transport } from "../core/transport.ts";
import { describe } from "../errors.ts";
import { CLOSE, type CloseName } from "../protocol/close.ts";
import { Congestion } from "./congestion.ts";
import type { Log, Sink } from "./peer.ts";
import { type Beat, sharedWheel, type Wheel } from "./wheel.ts";

export interface SseOptions {
  readonly sink: Sink;
  /** Write `event: type`, so that `addEventListener(type)` sees a frame and `onmessage` does not. */
  readonly named: boolean;
  /** The keep-alive: a comment, which a page cannot see, or a `pong` frame. */
  readonly heartbeat: "comment" | "pong";
  /** Between two keep-alives, in ms; 20,000. */
  readonly heartbeatMs?: number;
  /** What the client is told to wait before it reconnects, in ms; 2,000. */
  readonly retryMs?: number;
  /** Bytes queued for the client from which it counts as congested; 65,536. */
  readonly highWater?: number;
  /** How long a congested client may take nothing, in ms; 30,000. */
  readonly stuckMs?: number;
  /** Exactly once, with the WebSocket close code of the same cause; 1001 where the client left. */
  onClosed(code: number): void;
  readonly log: Log;
  readonly wheel?: Wheel;
}

export interface SseStream extends Transport {
  /** To be called when the runtime reports the response closed. */
  gone(): void;
}

const COMMENT = ": keep-alive\n\n";
const PONG: OutFrame = { type: "pong", json: '{"type":"pong"}' };

export function createSse(options: SseOptions): SseStream {
  return new SseTransport(options);
}

/**
 * The whole body of a `200` that sends an EventSource away for a while: any other status would make it give up for
 * good. Jittered: 1-5 s for a restart, 5-15 s for overload.
 */
export function retryLater(cause: "restart" | "overloaded", random: () => number = Math.random): string {
  const ms = cause === "restart" ? 1000 + random() * 4000 : 5000 + random() * 10_000;
  return `retry: ${Math.round(ms)}\n\n`;
}

class SseTransport implements SseStream, Beat {
  slot = 0;
  readonly #options: SseOptions;
  #closed = false;
  #congestion: Congestion | null = null;

  constructor(options: SseOptions) {
    this.#options = options;
    this.#wheel.schedule(this, this.#heartbeatMs * (0.5 + Math.random() / 2));
  }

  get kind(): "sse" {
    return "sse";
  }

  get congested(): boolean {
    return !this.#closed && this.#options.sink.buffered > this.#highWater;
  }

  /** No blank line: the `id:` joins the block of `ready`, for clients that overlook one in a block without data. */
  begin(cursor: number | null): void {
    if (this.#closed) return;
    const id = cursor === null ? "" : `id: ${cursor}\n`;
    this.#options.sink.write(`retry: ${this.#options.retryMs ?? 2000}\n${id}`);
  }

  write(frames: readonly OutFrame[]): void {
    if (this.#closed) return;
    if (this.#congestion && !this.congested) this.#congestion.clear();
    let text = "";
    for (const frame of frames) text += encode(frame, this.#options.named);
    this.#options.sink.write(text);
    if (this.congested) this.#congest().watch();
  }

  pass(id: number): void {
    if (!this.#closed) this.#options.sink.write(`id: ${id}\n\n`);
  }

  drained(): Promise<void> {
    return this.congested ? this.#congest().drained() : Promise.resolve();
  }

  close(cause: CloseName): void {
    if (this.#closed) return;
    const { sink } = this.#options;
    if (cause === "restart" || cause === "overloaded") sink.write(retryLater(cause));
    this.#settle(CLOSE[cause]);
    sink.end();
  }

  gone(): void {
    if (!this.#closed) this.#settle(CLOSE.goingAway);
  }

  beat(): number {
    const { heartbeat, named, sink } = this.#options;
    if (!this.congested) sink.write(heartbeat === "pong" ? encode(PONG, named) : COMMENT);
    return this.#heartbeatMs;
  }

  #congest(): Congestion {
    const { sink, stuckMs = 30_000 } = this.#options;
    this.#congestion ??= new Congestion(sink, this.#highWater, stuckMs, this.#wheel, () => this.close("overloaded"));
    return this.#congestion;
  }

  #settle(code: number): void {
    this.#closed = true;
    this.#wheel.cancel(this);
    this.#congestion?.release();
    try {
      this.#options.onClosed(code);
    } catch (error) {
      this.#options.log.error({ err: error }, `closing a stream failed: ${describe(error)}`);
    }
  }

  get #wheel(): Wheel {
    return this.#options.wheel ?? sharedWheel;
  }

  get #heartbeatMs(): number {
    return this.#options.heartbeatMs ?? 20_000;
  }

  get #highWater(): number {
    return this.#options.highWater ?? 65_536;
  }
}

/** [spec] HTML 9.2.6: a line ends at CR, LF or both; data of several lines is one `data:` for each. */
function encode(frame: OutFrame, named: boolean): string {
  const id = frame.id === undefined ? "" : `id: ${frame.id}\n`;
  // A type comes from a producer: one with a line break in it would write fields of its own, and is left out.
  const event = named && !/[\r\n]/.test(frame.type) ? `event: ${frame.type}\n` : "";
  const data = /[\r\n]/.test(frame.json) ? frame.json.replaceAll(/\r\n|\r|\n/g, "\ndata: ") : frame.json;
  return `${id}${event}data: ${data}\n\n`;
}
