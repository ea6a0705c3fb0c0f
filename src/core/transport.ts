/**
 * The way out of one stream, as the machine sees it: a WebSocket or an SSE response.
 * A transport never queues without bound: it says when it is congested, and the stream waits at its cursor.
 */
import type { CloseName } from "../protocol/close.ts";

/** One frame, encoded. `type` is what `?types=` filters on. `id` stands only on the last frame sent of an entry. */
export interface OutFrame {
  readonly type: string;
  readonly json: string;
  readonly id?: number;
}

export interface Transport {
  readonly kind: "websocket" | "sse";
  /** Says where the stream starts, right before `ready`: SSE primes the client's cursor with it. `null`: no cursor (chat). */
  begin(cursor: number | null): void;
  /** Hands frames over in one write; calls within one tick share it. Never throws, does nothing once closed. */
  write(frames: readonly OutFrame[]): void;
  /** The cursor passed an entry of which nothing was sent: SSE says a bare `id:`, a WebSocket nothing. */
  pass(id: number): void;
  /** More than the high-water mark waits for the client to read. */
  readonly congested: boolean;
  /** Resolves when no longer congested, and also when closed; never rejects. */
  drained(): Promise<void>;
  /** Ends the connection, at most once; what was written before is still flushed. */
  close(cause: CloseName, reason?: string): void;
}
