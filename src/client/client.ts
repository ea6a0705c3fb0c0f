/**
 * Puts the parts together: token, REST, sequence, store, connection, tabs. Every frame goes one road, whichever transport
 * brought it: raw to the other tabs, past the sequence, into the store, to the handlers.
 */
import type { ReadyData } from "../protocol/frames.ts";
import { connection } from "./connection.ts";
import { type Events, events } from "./events.ts";
import { type InboxCalls, inboxCalls, readInbox } from "./inbox.ts";
import type { Model, Way } from "./machine.ts";
import { browser, type Platform } from "./platform.ts";
import { RequestError, rest } from "./rest.ts";
import { sequence } from "./sequence.ts";
import { hydrate, type Snapshot } from "./snapshot.ts";
import { openSse } from "./sse.ts";
import { store } from "./store.ts";
import type { Tabs } from "./tabs.ts";
import { claimsOf, type GetToken, tokens } from "./token.ts";
import type { AnyFrame, Sink, Transport } from "./transport.ts";
import { openWebSocket } from "./websocket.ts";

export interface ConnectOptions {
  /** Where the server is, e.g. `https://news.example.com`; a path before `/api` is kept. Default: the page's origin. */
  url?: string | URL;
  /** Gives the user's token, a new one when asked again. Without it the cookie authenticates. */
  getToken?: GetToken | undefined;
  /** Default `auto`: WebSocket, and SSE where sockets cannot be held. */
  transport?: "auto" | Way;
  /** One connection for all tabs of this user. Default true. Needs to know the user: by the token, else by `user`. */
  shared?: boolean;
  /** The user's id, for `shared` where the token does not say it (a cookie, an opaque token). */
  user?: string | number | undefined;
  /** Only frames of these types. */
  types?: readonly string[];
  /** False: a stream from now on, without reading the inbox first. Default true. */
  hydrate?: boolean;
  /** Other sockets, clocks or channels than the browser's. */
  platform?: Partial<Platform>;
}

/** A running client. `close` ends it for good: no timer, listener, request or stream is left. */
export interface Client extends InboxCalls {
  /** Hears of frames by type, `*` of all; returns how to stop. Each stored frame comes once, in order. */
  on: Events["on"];
  getSnapshot(): Snapshot;
  subscribe(listener: () => void): () => void;
  /** Connects again after state `failed`, or at once instead of waiting. */
  retry(): void;
  close(): void;
}

/** Connects at once; handlers added in the same tick miss nothing. Throws TypeError when `url` is needed or unreadable. */
export function connect(options: ConnectOptions = {}): Client {
  const platform: Platform = { ...browser(), ...options.platform };
  const base = baseOf(options.url);
  const lifetime = new AbortController();
  const token = tokens(options.getToken, platform.now);
  const send = rest({ base, platform, tokens: token, signal: lifetime.signal });
  const place = sequence(!options.types, platform.now);
  const held = store();
  const bus = events();
  const inbox = inboxCalls(held, send);
  let user = options.user?.toString();
  let stale = options.hydrate !== false;
  let rewindTo: number | undefined;
  let others: Tabs | undefined;

  async function prepare(fresh: boolean): Promise<void> {
    const now = await token.get(fresh);
    const owner = (now && claimsOf(now).user) || user;
    if (user && owner !== user) throw new RequestError(403, "Another user's token: connect anew.");
    user = owner;
    if (user && options.shared !== false && platform.locks && platform.BroadcastChannel) await share(user);
    if (stale) await rehydrate();
  }

  async function rehydrate(): Promise<void> {
    const read = await readInbox(send);
    stale = false;
    if (place.cursor() === undefined) place.start(read.last_event_id);
    held.change((at) => hydrate(at, read));
    held.receive(undefined, place.cursor());
  }

  async function share(owner: string): Promise<void> {
    // Loaded when it is used: who connects alone does not pay for it.
    const { tabs } = await import("./tabs.ts");
    if (lifetime.signal.aborted) return;
    others ??= tabs({
      platform,
      key: `tidings ${base} ${owner} ${options.types ?? ""}`,
      cursor: place.cursor,
      onTurn: () => dispatch("reopen"),
      onRewind: (cursor) => {
        rewindTo = Math.min(cursor, rewindTo ?? cursor);
        dispatch("reopen");
      },
    });
    others.join();
  }

  /** The token was got ready by `prepare`, so the kept one is the right one. */
  function open(way: Way, sink: Sink): Transport {
    if (others && !others.leading()) return others.open(sink);
    const cursor = rewindTo ?? place.cursor();
    rewindTo = undefined;
    // What the one transport asks for, the other ignores.
    const query = new URLSearchParams({ heartbeat: "1", cursors: "1" });
    if (options.types) query.set("types", options.types.join());
    if (way === "sse") return openSse(platform, `${base}/sse/notifications/?${query}`, token.kept(), cursor, sink);
    if (cursor !== undefined) query.set("last_event_id", `${cursor}`);
    return openWebSocket(platform.WebSocket!, `${base}/ws/notifications/?${query}`, token.kept(), sink);
  }

  function receive(frame: AnyFrame): void {
    others?.frame(frame);
    if (frame.type === "ready" && !welcome(frame.data as ReadyData)) return;
    if (frame.type === "reset") restart((frame.data as ReadyData).last_event_id);
    const verdict = place.check(frame);
    if (verdict === "gap") dispatch("reopen");
    else held.receive(verdict === "deliver" ? frame : undefined, place.cursor());
    if (verdict === "deliver" && frame.type !== "pong") bus.emit(frame);
  }

  /** False when the stream turns out to be another user's: the cookie changed under the page. */
  function welcome({ user_id, last_event_id }: ReadyData): boolean {
    const known = held.getSnapshot().userId;
    if (`${known ?? user_id}` !== `${user_id}`) {
      dispatch("closed", 4403);
      return false;
    }
    if (place.cursor() === undefined) place.start(last_event_id);
    return true;
  }

  /** The server no longer has what lies after the cursor: on from its place, and the inbox anew. */
  function restart(cursor: number): void {
    place.start(cursor);
    if (options.hydrate === false) return;
    stale = true;
    rehydrate().catch(() => dispatch("closed"));
  }

  function changed({ state, failure }: Model, kind: Transport["kind"] | undefined): void {
    others?.changed(state);
    if (state === "failed") others?.leave();
    const connected = state === "open";
    held.change((at) => ({ ...at, state, failure, connected, transport: (connected && kind) || null }));
  }

  const dispatch = connection({
    platform,
    transport: options.transport ?? "auto",
    prepare,
    open,
    renew: () => token.get(true),
    expiresAt: token.expiresAt,
    onFrame: receive,
    onChange: changed,
    onDeadLeader: () => others?.rob(),
  });
  platform.listen(dispatch, lifetime.signal);
  dispatch("start");

  return {
    ...inbox,
    on: bus.on,
    getSnapshot: held.getSnapshot,
    subscribe: held.subscribe,
    retry: () => dispatch("start"),
    close: () => {
      dispatch("stop");
      others?.close();
      lifetime.abort();
      held.clear();
    },
  };
}

/** The address without query and trailing slash. */
function baseOf(url: string | URL | undefined): string {
  const here = globalThis.location?.href;
  if (url === undefined && !here) throw new TypeError("connect needs a url outside a page.");
  const { origin, pathname } = new URL(url ?? "/", here);
  return (origin + pathname).replace(/\/+$/, "");
}
