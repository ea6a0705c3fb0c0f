/**
 * What arrives on a stream, whichever client reads it: frames in order, waiting for one, the fields of SSE as the
 * standard reads them; and ways to produce entries. Nothing here is the server's code.
 */
import type { Sql } from "../../src/db/client.ts";
import { eventually } from "./eventually.ts";

export interface Frame {
  readonly type: string;
  readonly id?: number;
  readonly more?: true;
  readonly archived?: true;
  readonly data?: Record<string, unknown>;
  readonly [key: string]: unknown;
}

export type Match = string | ((frame: Frame) => boolean);

/** Frames in the order they came, with waiting. */
export interface FrameLog {
  readonly frames: Frame[];
  push(frame: Frame): void;
  /** The first frame that matches, come or to come. Rejects after `ms`, or when the stream ends without it. */
  find(match: Match, ms?: number): Promise<Frame>;
  /** All that match so far. */
  all(match: Match): Frame[];
  /** The types in order, entries with their id: `ready`, `notification 3`. */
  outline(): string[];
  /** No more will come. */
  end(why: string): void;
}

const matcher = (match: Match): ((frame: Frame) => boolean) =>
  typeof match === "string" ? (frame) => frame.type === match : match;

export function frameLog(): FrameLog {
  const frames: Frame[] = [];
  const waiting = new Set<() => void>();
  let ended: string | undefined;
  const told = (): void => {
    for (const look of [...waiting]) look();
  };
  return {
    frames,
    push(frame) {
      frames.push(frame);
      told();
    },
    all: (match) => frames.filter(matcher(match)),
    outline: () => frames.map(({ type, id }) => (id === undefined ? type : `${type} ${id}`)),
    find(match, ms = 5_000) {
      const fits = matcher(match);
      return new Promise((resolve, reject) => {
        const settle = (act: () => void): void => {
          waiting.delete(look);
          clearTimeout(timer);
          act();
        };
        const fail = (why: string): void =>
          settle(() => reject(new Error(`${why} without ${match}; came: ${JSON.stringify(frames).slice(0, 2_000)}`)));
        const look = (): void => {
          const found = frames.find(fits);
          if (found) settle(() => resolve(found));
          else if (ended !== undefined) fail(ended);
        };
        const timer = setTimeout(() => fail(`${ms} ms`), ms);
        waiting.add(look);
        look();
      });
    },
    end(why) {
      ended ??= why;
      told();
    },
  };
}

export interface SseEvent {
  /** The last event id as an EventSource has it when the event is dispatched. */
  readonly lastEventId: string;
  /** The value of `id:` in this block; undefined where there was none. */
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  /** Undefined in a block without data, which dispatches nothing. */
  readonly data?: string | undefined;
}

export interface SseReading {
  /** Every block in order. */
  readonly blocks: SseEvent[];
  readonly comments: string[];
  /** Values of `retry:`. */
  readonly retries: number[];
  /** What a reconnect would send. */
  lastEventId(): string;
}

/** Reads an event stream [spec HTML 9.2.6]. Returns where to put the text. */
export function sseReader(onBlock: (block: SseEvent) => void): SseReading & { feed(text: string): void } {
  const blocks: SseEvent[] = [];
  const comments: string[] = [];
  const retries: number[] = [];
  let [rest, lastEventId] = ["", ""];
  let fields: Record<string, string> = {};

  function dispatch(): void {
    if (Object.keys(fields).length === 0) return;
    lastEventId = fields.id ?? lastEventId;
    const block = { lastEventId, id: fields.id, event: fields.event, data: fields.data };
    fields = {};
    blocks.push(block);
    onBlock(block);
  }
  function line(text: string): void {
    const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/s.exec(text)!;
    if (text === "") dispatch();
    else if (text.startsWith(":")) comments.push(text.slice(1).trim());
    else if (name === "retry") retries.push(Number(value));
    else if (name === "data" && fields.data !== undefined) fields.data += `\n${value}`;
    else fields[name] = value;
  }
  return {
    blocks,
    comments,
    retries,
    lastEventId: () => fields.id ?? lastEventId,
    feed(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      lines.forEach(line);
    },
  };
}

export interface Entry {
  title?: string;
  message?: string | null;
  type?: string;
  data?: Record<string, unknown>;
  event?: Record<string, unknown>;
}

/** Stores one entry for a user, as a producer would: in one transaction, by the SQL function. */
export async function store(sql: Sql, user: number | string, entry: Entry = {}): Promise<void> {
  const { title = "Title", message = "Message", type = "note", data = {}, event } = entry;
  await sql`select tidings.send_notification(${String(user)}::text, ${title}::text, ${message}::text, ${type}::text,
    ${JSON.stringify(data)}::text::jsonb, ${event ? JSON.stringify(event) : null}::text::jsonb)`;
}

/** Stores `count` entries for a user in one transaction, with the messages "1", "2" … */
export async function storeMany(sql: Sql, user: number | string, count: number): Promise<void> {
  await sql`select tidings.send_notification(${String(user)}::text, 'Title', n::text, 'note')
    from generate_series(1, ${count}::int) n`;
}

/** Sends a transient event. */
export async function transient(sql: Sql, user: number | string, payload: Record<string, unknown>): Promise<void> {
  await sql`select tidings.notify_user(${String(user)}::text, ${JSON.stringify(payload)}::text::jsonb)`;
}

/** Ends the LISTEN backends of every instance on this database, and waits for one where there is none just now. */
export async function killListeners(sql: Sql): Promise<void> {
  await eventually(async () => {
    const killed = await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'tidings listener'`;
    return killed.length > 0;
  });
}
