/**
 * Close codes of a stream and what a client does about each (CONTRACT section 4).
 * Shared by server and client: the server closes with a name, the client looks the code up.
 */

/** Every code the server closes a WebSocket with. An SSE stream just ends; its cause is logged under the same name. */
export const CLOSE = {
  normal: 1000,
  goingAway: 1001,
  tooBig: 1009,
  restart: 1012,
  overloaded: 1013,
  badFrames: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  noPong: 4408,
  tooManyStreams: 4409,
  rateLimited: 4429,
} as const;

export type CloseName = keyof typeof CLOSE;
export type CloseCode = (typeof CLOSE)[CloseName];

/** What a client does next: come back with jitter, wait longer first, fetch a new token once, or give up. */
export type Reaction = "reconnect" | "backoff" | "reauthenticate" | "stop";

const REACTION: Readonly<Record<number, Reaction>> = {
  1000: "stop",
  1001: "reconnect",
  1009: "stop",
  1012: "reconnect",
  1013: "backoff",
  4400: "stop",
  4401: "reauthenticate",
  4403: "stop",
  4408: "reconnect",
  4409: "stop",
  4429: "backoff",
};

/** The reaction to a close code; anything unknown (1005, 1006, 1011, 0 …) was an accident on the way: reconnect. */
export function reactionTo(code: number): Reaction {
  return REACTION[code] ?? "reconnect";
}
