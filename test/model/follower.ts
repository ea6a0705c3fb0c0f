/**
 * A client as the contract describes one: keeps its cursor, comes back with it on whichever instance there is, and
 * checks each frame as it comes: after `ready` the ids go on by one, none twice, none left out. Raw sockets underneath,
 * so that it can stop reading.
 */
import { get, type IncomingMessage } from "node:http";
import { WebSocket } from "ws";
import { type Frame, sseReader } from "../helpers/streams.ts";

export interface Received {
  readonly id: number;
  /** `type tag` of each of its frames. */
  readonly frames: readonly string[];
}

export interface FollowerOptions {
  readonly user: number;
  readonly transport: "ws" | "sse";
  /** The cursor of the first connection; null: live. */
  readonly from: number | null;
  readonly headers: Record<string, string>;
  /** Which instance to go to; undefined: none runs. */
  pick(): string | undefined;
}

export interface Follower {
  readonly user: number;
  readonly transport: "ws" | "sse";
  /** The last entry it has whole; null until its first `ready`. */
  readonly cursor: number | null;
  /** Every entry that came whole, on all connections. */
  readonly received: readonly Received[];
  /** What must not have happened. */
  readonly complaints: readonly string[];
  /** The newest count the server told. */
  readonly unreadCount: number | undefined;
  readonly connections: number;
  /** When connections ended that this client had not ended itself, by performance.now(). */
  readonly ends: readonly number[];
  /** The present connection has had its `ready`. */
  readonly ready: boolean;
  drop(): void;
  /** Comes back with a cursor that many entries ago. */
  rewind(by: number): void;
  pause(): void;
  resume(): void;
  /** Asks for the unread count (WebSocket only). */
  askCount(): void;
  stop(): void;
}

interface Line {
  close(): void;
  pause(): void;
  resume(): void;
  send?(text: string): void;
}

const RETRY_MS = 30;

export function follower(options: FollowerOptions): Follower {
  const { user, transport, headers } = options;
  const received: Received[] = [];
  const complaints: string[] = [];
  const ends: number[] = [];
  let cursor = options.from;
  let partial: string[] = [];
  let unreadCount: number | undefined;
  let [connections, stopped] = [0, false];
  let asked: number | null = cursor;
  let ready = false;
  let line: Line | undefined;
  let retry: NodeJS.Timeout | undefined;

  const complain = (what: string): void => {
    if (complaints.length < 5) complaints.push(`user ${user} over ${transport}, connection ${connections}: ${what}`);
  };

  function onReady({ last_event_id, resume }: Record<string, unknown>): void {
    if (ready) complain("a second ready");
    ready = true;
    if (asked === null) cursor = last_event_id as number;
    else if (resume !== "complete" || last_event_id !== asked)
      complain(`asked ${asked}, got ${resume} ${last_event_id}`);
  }

  function onFrame(frame: Frame): void {
    const { type, id, more, data = {} } = frame;
    if (type === "ready") onReady(data);
    else if (!ready) complain(`${type} before ready`);
    if (type === "reset") complain(`reset to ${data.last_event_id}`);
    if (type === "unread_count") unreadCount = data.count as number;
    if (id === undefined) return;
    if (id !== cursor! + 1) complain(`${type} ${id} at the cursor ${cursor}`);
    partial.push(`${type} ${type === "notification" ? String(data.message).trimEnd() : frame.tag}`);
    if (more) return;
    received.push({ id, frames: partial });
    partial = [];
    cursor = id;
  }

  function gone(of: Line): void {
    if (line !== of) return;
    line = undefined;
    if (!stopped) retry = setTimeout(connect, RETRY_MS);
  }

  function connect(): void {
    const url = options.pick();
    if (!url) {
      retry = setTimeout(connect, RETRY_MS);
      return;
    }
    connections++;
    ready = false;
    partial = [];
    asked = cursor;
    const open = transport === "ws" ? openSocket : openSse;
    const mine: Line = open(url, cursor, headers, (frame) => line === mine && onFrame(frame), {
      gone: () => {
        if (line === mine) ends.push(performance.now());
        gone(mine);
      },
      lastEventId: (id) => id !== cursor && line === mine && complain(`lastEventId ${id} at the cursor ${cursor}`),
    });
    line = mine;
  }

  function drop(): void {
    const old = line;
    if (!old) return;
    gone(old);
    old.close();
  }

  connect();
  return {
    ...{ user, transport, received, complaints, ends, drop },
    get cursor() {
      return cursor;
    },
    get unreadCount() {
      return unreadCount;
    },
    get ready() {
      return ready && line !== undefined;
    },
    get connections() {
      return connections;
    },
    rewind(by) {
      drop();
      if (cursor !== null) cursor = Math.max(0, cursor - by);
    },
    pause: () => line?.pause(),
    resume: () => line?.resume(),
    askCount() {
      unreadCount = undefined;
      line?.send?.('{"type":"get_unread_count"}');
    },
    stop() {
      stopped = true;
      clearTimeout(retry);
      drop();
    },
  };
}

interface LineEvents {
  gone(): void;
  /** The last event id, as an EventSource would have it, after a frame that carries one. */
  lastEventId(id: number): void;
}

type Open = (
  url: string,
  cursor: number | null,
  headers: Record<string, string>,
  onFrame: (frame: Frame) => void,
  events: LineEvents,
) => Line;

const openSocket: Open = (url, cursor, headers, onFrame, { gone }) => {
  const query = cursor === null ? "" : `?last_event_id=${cursor}`;
  const ws = new WebSocket(`${url.replace("http", "ws")}/ws/notifications/${query}`, { headers });
  ws.on("message", (data) => onFrame(JSON.parse(String(data))));
  ws.on("error", () => {});
  ws.on("close", gone);
  return {
    close: () => ws.terminate(),
    pause: () => ws.pause(),
    resume: () => ws.resume(),
    send: (text) => ws.readyState === ws.OPEN && ws.send(text),
  };
};

const openSse: Open = (url, cursor, headers, onFrame, { gone, lastEventId }) => {
  let response: IncomingMessage | undefined;
  const resume = cursor === null ? {} : { "last-event-id": String(cursor) };
  const reader = sseReader(({ data, id }) => {
    if (data !== undefined) onFrame(JSON.parse(data) as Frame);
    if (id !== undefined) lastEventId(Number(id));
  });
  const request = get(`${url}/sse/notifications/`, { headers: { ...headers, ...resume }, agent: false }, (answer) => {
    response = answer;
    answer.setEncoding("utf8").on("data", (text: string) => reader.feed(text));
    answer.on("error", () => {});
    answer.on("close", gone);
  });
  request.on("error", gone);
  return {
    close: () => void request.destroy(),
    pause: () => void response?.pause(),
    resume: () => void response?.resume(),
  };
};
