/** What the strip shows of one window: frames that came, requests that went, and what happened to the connection. */
import type { AnyFrame } from "../client/index.ts";
import { describe } from "./describe.ts";

export interface Line {
  readonly key: number;
  readonly at: Date;
  readonly kind: "frame" | "request" | "note";
  /** The stream's frames have ids where they are stored. */
  readonly id: number | undefined;
  readonly type: string;
  readonly text: string;
  /** Missed while away, and sent again. */
  readonly replayed: boolean;
}

export interface Log {
  lines(): readonly Line[];
  /** A frame of the notification stream. */
  frame(frame: AnyFrame): void;
  /** A frame of a room's stream: never stored, never replayed. */
  roomFrame(frame: AnyFrame): void;
  request(text: string): void;
  note(text: string): void;
}

/** As many as one scrolls through. */
const KEPT = 200;

export function log(changed: () => void): Log {
  let lines: readonly Line[] = [];
  let next = 0;
  let replaying = false;

  function add(kind: Line["kind"], type: string, text: string, id?: number, replayed = false): void {
    lines = [...lines.slice(1 - KEPT), { key: next++, at: new Date(), kind, id, type, text, replayed }];
    changed();
  }

  return {
    lines: () => lines,
    frame: (frame) => {
      const { type, id } = frame as { type: string; id?: number };
      // A resumed stream sends what was missed, and a count of what is unread when it is through.
      if (type === "ready") replaying = (frame as { data: { resume: string } }).data.resume === "complete";
      if (type === "unread_count") replaying = false;
      add("frame", type, describe(frame), id, replaying && id !== undefined);
    },
    roomFrame: (frame) => add("frame", frame.type, describe(frame)),
    request: (text) => add("request", text.split(" ")[0]!, text.slice(text.indexOf(" ") + 1)),
    note: (text) => add("note", "", text),
  };
}
