/**
 * Who listens here: the streams of each user and of each room open on this instance. Takes envelopes in, wakes streams.
 * An entry is built once per envelope and only where somebody listens. Losing any envelope costs a read, never an entry.
 */
import { type Envelope, parseEnvelopes } from "../protocol/envelope.ts";
import { parseRelayed } from "../protocol/relayed.ts";
import { Entry } from "./entry.ts";
import type { Reader } from "./reader.ts";
import type { RoomStream } from "./room_stream.ts";
import { Stream } from "./stream.ts";
import type { OutFrame } from "./transport.ts";

export interface HubOptions {
  readonly reader: Reader;
  /** A read on behalf of the hub failed (a parcel, the sweep); streams heal by the next sweep. */
  failed(error: unknown): void;
  /** Something was written that falls due then. */
  scheduled?(at: string | undefined): void;
  /** The users of these are said to have left their room: old news, where one has come back since. */
  left?(streams: readonly RoomStream[]): void;
  /** The first stream on a group opened here, or the last one closed. */
  follow?(group: string, isWanted: boolean): void;
}

const SWEEP_CHUNK = 1_000;

export class Hub {
  readonly #users = new Map<string, Set<Stream>>();
  readonly #rooms = new Map<string, Set<RoomStream>>();
  readonly #options: HubOptions;
  #sweeping: Promise<void> | null = null;
  #sweepAgain = false;
  #size = 0;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** Open streams, chat streams included. */
  get size(): number {
    return this.#size;
  }

  /** Register before the first read: then nothing can fall between them. Returns how to leave. */
  join(stream: Stream): () => void {
    return this.#add(this.#users, stream.userId, stream, `user_${stream.userId}`);
  }

  /** Registers a chat stream under each of its group names (`room_7` and `direct_7`), and for revocation. */
  joinRoom(names: readonly string[], stream: RoomStream): () => void {
    const groups = [...names, `user_${stream.userId}`];
    const leaves = groups.map((group, at) => this.#add(this.#rooms, group, stream, group, at === 0));
    return () => {
      for (const leave of leaves) leave();
    };
  }

  /** The text of a message of the bus. */
  relayed(text: string): void {
    const stored = parseRelayed(text);
    if (!stored) {
      this.receive(text);
      return;
    }
    const { userId, id, event, eventType, notification, streamed, createdAt } = stored;
    const streams = this.#users.get(userId);
    if (!streams) return;
    const entry = new Entry(id, event, eventType, notification, false, streamed, Date.parse(createdAt));
    for (const stream of streams) stream.offer(entry);
  }

  /** The text of one NOTIFY. */
  receive(text: string): void {
    for (const envelope of parseEnvelopes(text)) this.#dispatch(envelope);
  }

  /**
   * Asks the database for the newest ids of all users with streams here and wakes those that are behind. Rejects when
   * it cannot be asked.
   */
  sweep(): Promise<void> {
    this.#sweepAgain = this.#sweeping !== null;
    this.#sweeping ??= this.#sweep().finally(() => {
      this.#sweeping = null;
      if (this.#sweepAgain) this.sweep().catch((error) => this.#options.failed(error));
    });
    return this.#sweeping;
  }

  /** Every open stream, for shutdown and metrics. */
  *streams(): Generator<Stream | RoomStream> {
    for (const set of this.#users.values()) yield* set;
    yield* new Set([...this.#rooms.values()].flatMap((set) => [...set]));
  }

  #add<T>(map: Map<string, Set<T>>, key: string, member: T, group: string, counts = true): () => void {
    const set = map.get(key) ?? new Set<T>();
    if (set.size === 0 && !this.#isFollowed(group)) this.#options.follow?.(group, true);
    map.set(key, set.add(member));
    if (counts) this.#size++;
    return () => {
      if (!set.delete(member)) return;
      if (counts) this.#size--;
      if (set.size > 0 || map.get(key) !== set) return;
      map.delete(key);
      if (!this.#isFollowed(group)) this.#options.follow?.(group, false);
    };
  }

  /** A user's group has streams of two kinds. */
  #isFollowed(group: string): boolean {
    return this.#rooms.has(group) || (group.startsWith("user_") && this.#users.has(group.slice(5)));
  }

  /** A user's streams of both kinds. */
  #allOf(group: string, user: string | null): (Stream | RoomStream)[] {
    return [...((user !== null && this.#users.get(user)) || []), ...(this.#rooms.get(group) ?? [])];
  }

  #dispatch(envelope: Envelope): void {
    const user = envelope.group.startsWith("user_") ? envelope.group.slice(5) : null;
    const streams = user === null ? undefined : this.#users.get(user);
    const members = user === null ? this.#rooms.get(envelope.group) : undefined;
    const listeners: ReadonlySet<Stream | RoomStream> | undefined = streams ?? members;
    if (envelope.type === "schedule") {
      this.#options.scheduled?.(envelope.at);
    } else if (envelope.type === "revoke") {
      for (const one of this.#allOf(envelope.group, user)) one.end("unauthenticated", "token revoked");
    } else if (!listeners) return;
    else if (envelope.type === "leave") {
      this.#options.left?.([...(members ?? [])].filter(({ userId }) => userId === envelope.user_id));
    } else if (envelope.id !== undefined) {
      if (streams) this.#entry(streams, envelope.id, envelope);
    } else if (envelope.payload) send(listeners, envelope.payload);
    else if (envelope.parcel !== undefined) void this.#parcel(listeners, envelope.parcel);
  }

  #entry(streams: ReadonlySet<Stream>, id: number, envelope: Envelope & { type: "notify" }): void {
    const { payload } = envelope;
    if (!payload) {
      for (const stream of streams) if (id > stream.cursor) stream.wake();
      return;
    }
    const event = payload.event as { type?: unknown } | undefined;
    const entry = new Entry(
      id,
      event ? JSON.stringify(event) : null,
      String(event?.type),
      payload.notification ? JSON.stringify(payload.notification) : null,
      false,
      envelope.streamed !== false,
      Date.parse(envelope.created_at ?? ""),
    );
    for (const stream of streams) stream.offer(entry);
  }

  async #parcel(listeners: ReadonlySet<Stream | RoomStream>, id: number): Promise<void> {
    try {
      const json = await this.#options.reader.parcel(id);
      if (json !== null) send(listeners, JSON.parse(json));
    } catch (error) {
      this.#options.failed(error);
    }
  }

  async #sweep(): Promise<void> {
    const users = [...new Set([...this.streams()].map((stream) => stream.userId))];
    for (let at = 0; at < users.length; at += SWEEP_CHUNK) {
      const chunk = users.slice(at, at + SWEEP_CHUNK);
      const streams = chunk.flatMap((user) => this.#allOf(`user_${user}`, user));
      const before = streams.map((stream) => (stream instanceof Stream ? stream.cursor : 0));
      const heads = await this.#options.reader.heads(chunk);
      streams.forEach((stream, nth) => {
        const head = heads.get(stream.userId);
        if (head && head.revokedAt >= stream.issuedAt) stream.end("unauthenticated", "token revoked");
        else if (stream instanceof Stream) stream.compare(head?.lastId ?? 0, before[nth]!);
      });
    }
  }
}

/** A typing frame is for the others. */
function send(listeners: Iterable<Stream | RoomStream>, payload: Record<string, unknown>): void {
  const type = String(payload.type);
  const frame: OutFrame = { type, json: JSON.stringify(payload) };
  const typist = type === "typing" ? typistOf(payload) : undefined;
  for (const one of listeners) if (typist === undefined || one.userId !== typist) one.transient(frame);
}

function typistOf(payload: Record<string, unknown>): string | undefined {
  const id = (payload.data as { user?: { id?: unknown } } | undefined)?.user?.id;
  return id === undefined ? undefined : String(id);
}
