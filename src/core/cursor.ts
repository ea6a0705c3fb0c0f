/**
 * The decisions a cursor takes, pure. A stream is a cursor over its user's dense sequence: 1, 2, 3 … without holes.
 */
import type { AskedCursor } from "../protocol/cursor.ts";
import type { Resume } from "../protocol/frames.ts";

/** What the database knows of a sequence: entries up to `floorId` may be gone, `lastId` is the newest. */
export interface Extent {
  readonly lastId: number;
  readonly floorId: number;
}

/** Can a stream go on from this cursor without missing anything? */
export function resumable(cursor: number, extent: Extent): boolean {
  return cursor >= extent.floorId && cursor <= extent.lastId;
}

/** Where a stream starts, and what its `ready` says about it. */
export function start(asked: AskedCursor, extent: Extent): { cursor: number; resume: Resume } {
  if (asked.kind === "none") return { cursor: extent.lastId, resume: "live" };
  if (asked.kind === "after" && resumable(asked.id, extent)) return { cursor: asked.id, resume: "complete" };
  return { cursor: extent.lastId, resume: "reset" };
}

/** An announced entry against the cursor: the next one, one known already, or one beyond a gap (read the table). */
export function place(id: number, cursor: number): "next" | "known" | "beyond" {
  if (id <= cursor) return "known";
  return id === cursor + 1 ? "next" : "beyond";
}
