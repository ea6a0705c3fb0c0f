/**
 * How a stream is opened, over WebSocket or SSE: origin, token, limits, then whatever the route opens on it.
 * A refused WebSocket is accepted and closed with its code, so that a browser can see it. A refused SSE request gets a
 * problem document only where an EventSource should give up for good; else 200, `retry:` and the end (CONTRACT 4, 5).
 */
import type { Context } from "hono";
import { type Found, socketOffer, streamOffer } from "../auth/place.ts";
import type { Identity } from "../auth/token.ts";
import type { Transport } from "../core/transport.ts";
import { describe, TidingsError } from "../errors.ts";
import type { StreamKind } from "../protocol/client_frame.ts";
import { CLOSE, type CloseName } from "../protocol/close.ts";
import type { Log, PeerEvents } from "../transport/peer.ts";
import type { Runtime } from "../transport/runtime.ts";
import { createSse, retryLater, type SseStream } from "../transport/sse.ts";
import { type Command, createWebSocket } from "../transport/websocket.ts";
import type { Admission } from "./admission.ts";
import type { Gate } from "./gate.ts";
import type { Load } from "./load.ts";
import { problem } from "./problem.ts";

/** What runs on an open transport. */
export interface Session {
  /** A client's frame. Rejects with the TidingsError to answer. */
  command(frame: Command): Promise<void>;
  /** The transport is gone. */
  closed(): void;
}

export interface Refusal {
  readonly refused: CloseName;
  readonly reason: string;
}

/** What a route opens. */
export interface Opening {
  readonly kind: StreamKind;
  /** Asked once the user is known and a place is reserved: what to run, or why not. */
  prepare(identity: Identity): Promise<((transport: Transport) => Session) | Refusal>;
}

/** Intervals, for tests and unusual networks. All in milliseconds; the transports' defaults where unset. */
export interface Timing {
  readonly heartbeatMs?: number;
  readonly pongMs?: number;
  readonly sseHeartbeatMs?: number;
  readonly stuckMs?: number;
}

export interface OpeningServices {
  readonly runtime: Runtime;
  readonly gate: Gate;
  readonly admission: Admission;
  readonly load: Load;
  readonly log: Log;
  readonly timing: Timing;
  /** Epoch seconds of the user's revocation; asked for SSE, whose clients should see a 401 rather than an ending stream. */
  revokedAt(userId: string): Promise<number>;
  /** The client's address, trusted proxies considered. */
  address(c: Context): string;
  /** Counts streams. */
  readonly meter: {
    opened(transport: "websocket" | "sse"): void;
    /** A stream was closed with this code; `wasOpen` false: it never opened, or was refused. */
    closed(transport: "websocket" | "sse", code: number, wasOpen: boolean): void;
  };
}

interface Admitted {
  run(transport: Transport): Session;
  release(): void;
}

export async function openWebSocket(services: OpeningServices, c: Context, opening: Opening): Promise<Response> {
  const { runtime, gate, log, timing, meter } = services;
  if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
    return problem(c, 426, "bad_request", "Connect with a WebSocket.", { upgrade: "websocket" });
  }
  const offer = socketOffer(c.req.raw.headers, new URL(c.req.url));
  const admitted = await admit(services, c, gate.candidates(c, offer.candidates), opening);
  if ("refused" in admitted) {
    meter.closed("websocket", CLOSE[admitted.refused], false);
    return runtime.upgrade(c, offer.protocol, refuse(admitted));
  }
  let session: Session | undefined;
  const { events } = createWebSocket({
    kind: opening.kind,
    log,
    ...timing,
    cursors: c.req.query("cursors") === "1",
    onOpen(transport) {
      session = admitted.run(transport);
      meter.opened("websocket");
    },
    onFrame: (frame) => session!.command(frame),
    onClosed(code) {
      admitted.release();
      session?.closed();
      meter.closed("websocket", code, session !== undefined);
    },
  });
  return runtime.upgrade(c, offer.protocol, events);
}

export async function openSse(services: OpeningServices, c: Context, opening: Opening): Promise<Response> {
  const { runtime, gate, log, timing, meter } = services;
  const found = gate.candidates(c, streamOffer(c.req.raw.headers, new URL(c.req.url)));
  const admitted = await admit(services, c, found, withRevocation(opening, services.revokedAt));
  if ("refused" in admitted) {
    meter.closed("sse", CLOSE[admitted.refused], false);
    return refuseSse(c, admitted);
  }
  // Read here: a closure that holds the context would hold the whole request for as long as the stream is open.
  const named = c.req.query("named") === "1";
  const heartbeat = c.req.query("heartbeat") === "1" ? "pong" : "comment";
  let transport: SseStream | undefined;
  let session: Session | undefined;
  const onClosed = (code: number): void => {
    admitted.release();
    session?.closed();
    meter.closed("sse", code, session !== undefined);
  };
  return runtime.sse(
    c,
    {},
    (sink) => {
      const { sseHeartbeatMs: heartbeatMs, stuckMs } = timing;
      transport = createSse({
        sink,
        named,
        heartbeat,
        log,
        onClosed,
        ...(heartbeatMs ? { heartbeatMs } : {}),
        ...(stuckMs ? { stuckMs } : {}),
      });
      session = admitted.run(transport);
      meter.opened("sse");
    },
    () => (transport ? transport.gone() : onClosed(CLOSE.goingAway)),
  );
}

async function admit(
  { gate, admission, load, address, log }: OpeningServices,
  c: Context,
  found: readonly Found[],
  opening: Opening,
): Promise<Admitted | Refusal> {
  if (admission.draining) return { refused: "restart", reason: "shutting down" };
  if (admission.tooFast(() => address(c)))
    return { refused: "rateLimited", reason: "too many connections from this address" };
  // a ticket and a room's membership are looked up where REST waits too
  const hasTicket = found.some(({ place }) => place === "ticket");
  if (load.openings.overloaded || ((hasTicket || opening.kind === "chat") && load.rest.overloaded)) {
    return { refused: "overloaded", reason: "too much to do here: try again later" };
  }
  let release: (() => void) | undefined;
  let leave = hasTicket ? load.rest.enter() : undefined;
  try {
    const identity = await gate.identify(found);
    const reserved = admission.reserve(identity.userId);
    if (typeof reserved === "string") return { refused: reserved, reason: REASON[reserved] ?? reserved };
    release = reserved;
    if (opening.kind === "chat") leave ??= load.rest.enter();
    const prepared = await opening.prepare(identity);
    if (typeof prepared === "function") return { run: prepared, release };
    release();
    return prepared;
  } catch (error) {
    release?.();
    if (error instanceof TidingsError && error.code === "unauthenticated") {
      return { refused: "unauthenticated", reason: error.message };
    }
    log.warn({ err: error }, `a stream could not be opened: ${describe(error)}`);
    return { refused: "overloaded", reason: "try again later" };
  } finally {
    leave?.();
  }
}

const REASON: Partial<Record<CloseName, string>> = {
  overloaded: "too many streams here: try again later",
  tooManyStreams: "too many streams of this user: close one",
  restart: "shutting down",
};

function withRevocation(opening: Opening, revokedAt: (userId: string) => Promise<number>): Opening {
  return {
    kind: opening.kind,
    async prepare(identity) {
      if ((await revokedAt(identity.userId)) < identity.issuedAt) return opening.prepare(identity);
      return { refused: "unauthenticated", reason: "The token was revoked: sign in again." };
    },
  };
}

/** A close reason has at most 123 bytes [spec RFC 6455 5.5]. */
function refuse({ refused, reason }: Refusal): PeerEvents {
  return { open: (peer) => peer.close(CLOSE[refused], reason.slice(0, 120)), message() {}, closed() {} };
}

function refuseSse(c: Context, { refused, reason }: Refusal): Response {
  if (refused === "unauthenticated") return problem(c, 401, "unauthenticated", reason);
  if (refused === "forbidden") return problem(c, 403, "forbidden", reason);
  if (refused === "tooManyStreams") return problem(c, 429, "too_many_streams", reason);
  return c.body(retryLater(refused === "restart" ? "restart" : "overloaded"), 200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  });
}
