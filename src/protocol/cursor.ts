/**
 * The cursor as text: the value of `Last-Event-ID`, of `?last_event_id=` and of the SSE field `id:`.
 * Absent or empty asks for no replay; anything that is no entry id is "garbage", which resumes with a reset.
 */

export type AskedCursor = { kind: "none" } | { kind: "after"; id: number } | { kind: "garbage" };

const NONE: AskedCursor = { kind: "none" };
const GARBAGE: AskedCursor = { kind: "garbage" };

/** Reads what a client asked for. Ids are plain decimal whole numbers up to 2^53 - 1; `0` is "from the first". */
export function parseCursor(text: string | null | undefined): AskedCursor {
  const value = text?.trim();
  if (!value) return NONE;
  if (!/^\d{1,16}$/.test(value)) return GARBAGE;
  const id = Number(value);
  return Number.isSafeInteger(id) ? { kind: "after", id } : GARBAGE;
}
