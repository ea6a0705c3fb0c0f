/**
 * What connection.ts knows of a way to the server: three of them (websocket.ts, sse.ts, tabs.ts) open a stream and feed
 * one sink. What a transport reports after its end or its `close()` is not listened to.
 */
import type { Frame } from "../protocol/frames.ts";

/**
 * Any frame, those of a producer's own types too. `cursor` is local: an id passed by without data (SSE's bare `id:`).
 */
export type AnyFrame =
  | Frame
  | { type: "cursor"; id: number }
  | ({ type: string; id?: number; more?: true } & Record<string, unknown>);

export interface Sink {
  /** A frame, or nothing: then something came that is none, a sign of life. */
  frame(frame?: AnyFrame): void;
  /** The end, by its close code (0: an accident), and what the server asks to wait at least, in milliseconds. */
  closed(code: number, waitMs?: number): void;
}

export interface Transport {
  readonly kind: "websocket" | "sse" | "tab";
  /** Sends a client frame where that is possible; SSE has no way up and drops it. */
  send(frame: object): void;
  /** Ends without a report. */
  close(): void;
}

/** A frame of text, or undefined for what is none. */
export function parseFrame(text: unknown): AnyFrame | undefined {
  try {
    const frame = JSON.parse(text as string);
    return typeof frame?.type === "string" ? frame : undefined;
  } catch {
    return undefined;
  }
}
