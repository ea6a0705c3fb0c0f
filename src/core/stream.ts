/**
 * One open stream of one user: a cursor plus a transport, with one verb, `wake()`: read the table after the cursor
 * until a short page comes back, waiting for the transport before each read. Connect, replay, a lost NOTIFY, a broken
 * LISTEN, an oversize payload and a slow reader are all that same read.
 *
 * Promises: entries leave in order, each once; memory is bounded by one page; nothing here throws or rejects.
 */
import { backoff } from "../backoff.ts";
import type { CloseName } from "../protocol/close.ts";
import type { AskedCursor } from "../protocol/cursor.ts";
import { place, resumable, start } from "./cursor.ts";
import type { Entry, Taste } from "./entry.ts";
import type { Page, Reader } from "./reader.ts";
import type { OutFrame, Transport } from "./transport.ts";

/** What a stream tells about itself; the composition root turns it into metrics and the delivered watermark. */
export interface StreamEvents {
  /** Frames of an entry were written, from an envelope ("fast") or from the table ("read"). */
  sent(stream: Stream, entry: Entry, path: "fast" | "read"): void;
  reset(stream: Stream): void;
  failed(stream: Stream, error: unknown): void;
}

export interface StreamOptions {
  readonly userId: string;
  /** The user id as the token has it. */
  readonly claim: string | number;
  /** `iat` of the token, epoch seconds: one at or before a revocation is refused. */
  readonly issuedAt: number;
  readonly asked: AskedCursor;
  readonly taste: Taste;
  readonly heartbeatSeconds: number;
  readonly transport: Transport;
  readonly reader: Reader;
  readonly events: StreamEvents;
}

const RETRY = { baseMs: 250, capMs: 5_000 };

export class Stream {
  readonly userId: string;
  readonly transport: Transport;
  /** `iat` of the token it lives on, epoch seconds; a renewal moves it. */
  issuedAt: number;
  readonly #options: StreamOptions;
  #cursor = 0;
  #started = false;
  #counting = false;
  #missed = false;
  #running = false;
  #dirty = false;
  #closed = false;

  constructor(options: StreamOptions) {
    this.userId = options.userId;
    this.issuedAt = options.issuedAt;
    this.transport = options.transport;
    this.#options = options;
  }

  /** The id this stream has passed; 0 until it has started. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Something may lie after the cursor. Any number of calls while a read runs cost one more read. */
  wake(): void {
    this.#dirty = true;
    if (!this.#running && !this.#closed) void this.#run();
  }

  /** Wakes when behind the newest id, or when that is below where the cursor stood before it was asked: the database went back. */
  compare(newest: number, before: number): void {
    if (this.#started && (newest > this.#cursor || newest < before)) this.wake();
  }

  /** The fast path: an announced entry that is the next one leaves at once. */
  offer(entry: Entry): void {
    if (this.#started && place(entry.id, this.#cursor) === "known") return;
    if (!this.#started || this.#running || this.transport.congested || place(entry.id, this.#cursor) === "beyond") {
      this.wake();
      return;
    }
    const frames = entry.frames(this.#options.taste);
    this.#cursor = entry.id;
    if (frames.length === 0) this.transport.pass(entry.id);
    else this.#send(entry, frames, "fast");
  }

  /** A transient frame: sent now or never. */
  transient(frame: OutFrame): void {
    const { types } = this.#options.taste;
    const opening = !this.#started || this.#counting;
    if (opening && frame.type === "unread_count") this.#missed = true;
    if (this.#started && !this.transport.congested && (!types || types.has(frame.type))) this.transport.write([frame]);
  }

  /** Ends the connection; the caller takes the stream out of the hub when the transport reports it closed. */
  end(cause: CloseName, reason?: string): void {
    this.#closed = true;
    this.transport.close(cause, reason);
  }

  /** The transport is gone. */
  closed(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    this.#running = true;
    const retry = backoff(RETRY);
    while ((this.#dirty || this.#counting) && !this.#closed) {
      try {
        if (this.transport.congested) await this.transport.drained();
        if (this.#dirty) await this.#read();
        else await this.#count();
        retry.reset();
      } catch (error) {
        // the database is away: the cursor stays, the connection too
        this.#options.events.failed(this, error);
        this.#dirty = true;
        await new Promise((resolve) => setTimeout(resolve, retry.next()));
      }
    }
    this.#running = false;
  }

  async #read(): Promise<void> {
    const { reader, asked } = this.#options;
    this.#dirty = false;
    const opening = !this.#started;
    const after = this.#started ? this.#cursor : asked.kind === "after" ? asked.id : null;
    const page = await reader.read(this.userId, after, opening);
    if (this.#closed) return;
    if (opening) {
      if (!this.#start(page)) return;
    } else if (!resumable(this.#cursor, page)) {
      this.#reset(page);
    }
    await this.#sendAll(page);
    // the count of the moment the page was read goes with it, unless it has changed since; what is newer counts by itself
    if (this.#counting && !page.more && !this.#missed && page.unread !== null) this.#sendCount(page.unread);
  }

  /** Writes `ready`, and `reset` where the cursor asked for cannot be resumed. False: refused. */
  #start(page: Page): boolean {
    const { asked, claim, heartbeatSeconds } = this.#options;
    if (page.revokedAt >= this.issuedAt) {
      this.end("unauthenticated", "token revoked");
      return false;
    }
    const { cursor, resume } = start(asked, page);
    this.#cursor = cursor;
    this.#started = true;
    this.#counting = resume === "complete";
    this.transport.begin(cursor);
    const data = {
      user_id: claim,
      last_event_id: cursor,
      unread_count: page.unreadCount,
      resume,
      heartbeat_seconds: heartbeatSeconds,
    };
    this.transport.write([{ type: "ready", json: JSON.stringify({ type: "ready", data }) }]);
    if (resume === "reset") this.#reset(page);
    return true;
  }

  #reset(page: Page): void {
    this.#cursor = page.lastId;
    this.transport.write([
      { type: "reset", json: `{"type":"reset","data":{"last_event_id":${page.lastId}}}`, id: page.lastId },
    ]);
    this.#options.events.reset(this);
  }

  async #sendAll(page: Page): Promise<void> {
    let passed: number | null = null;
    for (const entry of page.entries) {
      if (this.#closed) return;
      if (place(entry.id, this.#cursor) !== "next") continue;
      const frames = entry.frames(this.#options.taste);
      this.#cursor = entry.id;
      passed = frames.length === 0 ? entry.id : null;
      if (frames.length > 0) this.#send(entry, frames, "read");
      if (this.transport.congested) await this.transport.drained();
    }
    if (passed !== null) this.transport.pass(passed);
    if (page.more) this.#dirty = true;
  }

  /** `unread_count`, once after a replay. */
  async #count(): Promise<void> {
    this.#missed = false;
    const data = JSON.stringify(await this.#options.reader.unread(this.userId));
    // one that was sent meanwhile is newer: asked again, so that ours is not the last
    if (!this.#missed) this.#sendCount(data);
  }

  #sendCount(data: string): void {
    this.#counting = false;
    const { types } = this.#options.taste;
    if (types && !types.has("unread_count")) return;
    this.transport.write([{ type: "unread_count", json: `{"type":"unread_count","data":${data}}` }]);
  }

  #send(entry: Entry, frames: readonly OutFrame[], path: "fast" | "read"): void {
    this.transport.write(frames);
    this.#options.events.sent(this, entry, path);
  }
}
