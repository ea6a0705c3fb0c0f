/**
 * How long those who came wait, as the sign of overload: a count alone says nothing, a healthy database serves a burst
 * of hundreds at once and a stuck one does not serve ten. Refusing early keeps the queue short, so that those who are
 * let in are answered while their client still listens.
 * One line for REST and whatever else waits for a connection of the pool, and one for the first reads of streams, which have
 * connections of their own: neither can starve the other.
 */
import type { MiddlewareHandler } from "hono";
import { USERS_PER_QUERY } from "../db/entries.ts";
import { problem } from "./problem.ts";

export interface LineOptions {
  /** How many are served at once: those are slow, not waiting. */
  readonly served: number;
  /** How long one may wait to be served, in ms, before those who come are refused. */
  readonly waitMs: number;
  /** Most in line, whatever they wait. */
  readonly most: number;
  /** Monotonic milliseconds. Default performance.now. */
  readonly now?: () => number;
}

export interface Line {
  /** Whoever comes now should be sent away. */
  readonly overloaded: boolean;
  /** Joins the line; returns how to leave it. */
  enter(): () => void;
}

export interface Load {
  readonly rest: Line;
  readonly openings: Line;
}

/** Milliseconds that a request may wait for a connection. */
const REST_MS = 1_000;
/** The same for a stream's first read: longer, for a stream that is let in is there for hours, and thousands may come at once. */
const OPENING_MS = 10_000;
/** Each holds its body of at most 64 KiB. */
const MOST_REQUESTS = 1_000;

/** @param connections of the pool that REST uses */
export function createLoad(connections: number): Load {
  return {
    rest: createLine({ served: connections, waitMs: REST_MS, most: MOST_REQUESTS }),
    // the questions of one query are with the database, not waiting: one that hangs says nothing of the others
    openings: createLine({ served: USERS_PER_QUERY, waitMs: OPENING_MS, most: Number.POSITIVE_INFINITY }),
  };
}

export function createLine({ served, waitMs, most, now = () => performance.now() }: LineOptions): Line {
  // in the order they came: a set keeps it, and leaving from its middle is cheap
  const line = new Set<{ readonly since: number }>();
  return {
    get overloaded() {
      if (line.size >= most) return true;
      if (line.size <= served) return false;
      let nth = 0;
      // of so many, this one is surely not served yet
      for (const { since } of line) if (nth++ === served) return now() - since > waitMs;
      return false;
    },
    enter() {
      const one = { since: now() };
      line.add(one);
      return () => void line.delete(one);
    },
  };
}

/** False where the client went away in the middle of it. Other errors are told by those who know them. */
async function isWhole(gone: AbortSignal, body: Promise<unknown>): Promise<boolean> {
  try {
    await body;
    return true;
  } catch (error) {
    if (gone.aborted || (error as { code?: unknown }).code === "ECONNRESET") return false;
    throw error;
  }
}

/** Answers 503 with Retry-After while the line is too long. @param refused counts them */
export function admitted(line: Line, refused: () => void): MiddlewareHandler {
  return async (c, next) => {
    // before it counts: a client that sends its body slowly waits for itself
    if (!line.overloaded && c.req.raw.body && !(await isWhole(c.req.raw.signal, c.req.arrayBuffer()))) {
      return problem(c, 400, "bad_request", "The body ended before its end.");
    }
    if (line.overloaded) {
      refused();
      return problem(c, 503, "unavailable", "Too many requests wait here: try again shortly.");
    }
    const leave = line.enter();
    try {
      await next();
    } finally {
      leave();
    }
  };
}
