/**
 * The client's place in the user's dense sequence of entries: drops what it has seen, sees what is missing.
 * An entry may come as several frames with the same id, all but the last marked `more`: the cursor moves on the last.
 * A gap is healed by resuming at the cursor. Where that brings the same gap again, the server passes entries by on
 * purpose (a type switched off in the preferences): then ids are taken as they come for a while, so that no loop begins.
 */

export type Verdict = "deliver" | "duplicate" | "gap";

export interface Sequence {
  /** The id of the last entry that came whole; undefined before the start. */
  cursor(): number | undefined;
  /** Sets the cursor: the inbox snapshot's, a reset's, or the first stream's own. */
  start(id: number): void;
  /** What to do with a frame. Moves the cursor when the frame ends its entry. */
  check(frame: { type: string; id?: unknown; more?: unknown }): Verdict;
}

const TRUST_MS = 600_000;

/** @param gaps false where frames are filtered, so that a missing id means nothing. */
export function sequence(gaps: boolean, now: () => number): Sequence {
  let cursor: number | undefined;
  /** The types that came of entries that are not whole yet. */
  const begun = new Set<string>();
  let healedAt: number | undefined;
  let trustUntil = 0;

  function missing(id: number): boolean {
    if (!gaps || cursor === undefined || id <= cursor + 1 || now() < trustUntil) return false;
    if (healedAt === cursor) {
      trustUntil = now() + TRUST_MS;
      return false;
    }
    healedAt = cursor;
    return true;
  }

  function check({ type, id, more }: { type: string; id?: unknown; more?: unknown }): Verdict {
    if (typeof id !== "number") return "deliver";
    if (cursor !== undefined && id <= cursor) return "duplicate";
    if (type === "cursor") {
      cursor = id;
      return "duplicate";
    }
    if (missing(id)) return "gap";
    const frame = id + type;
    const verdict = begun.has(frame) ? "duplicate" : "deliver";
    begun.add(frame);
    if (!more) {
      begun.clear();
      cursor = id;
    }
    return verdict;
  }

  return {
    cursor: () => cursor,
    start: (id) => {
      cursor = id;
    },
    check,
  };
}
