/**
 * One user signed in to one window: a client of its own (what another window hears must not come by way of this one),
 * the world around the inbox, and the log of what went over the wire. Everything is let go by `close`.
 */
import {
  type AnyFrame,
  type Client,
  connect,
  type Inbox,
  type Invite,
  type UserRef,
  type Way,
} from "../client/index.ts";
import { RequestError, rest, type Send } from "../client/rest.ts";
import { claimsOf, type GetToken, tokens } from "../client/token.ts";
import { type ChatStream, chatStream } from "./chat_stream.ts";
import { userOf } from "./describe.ts";
import { type Line, line } from "./line.ts";
import { type Log, log } from "./log.ts";
import { asksFor, EMPTY_WORLD, step, type Task, type World, withInvite, withPeople } from "./world.ts";

export interface Session {
  readonly me: UserRef;
  readonly line: Line;
  readonly log: Log;
  /** Sends a request; one that writes is logged. Rejects with RequestError. */
  readonly send: Send;
  client(): Client;
  way(): Way;
  world(): World;
  change(how: (world: World) => World): void;
  /** Reads friends and requests anew. */
  meet(): void;
  /** The same inbox over another transport. */
  switchTo(way: Way): void;
  openChat(roomId: number, onFrame: (frame: AnyFrame) => void): ChatStream;
  /** Hears of every change, once for all that came together. */
  subscribe(listener: () => void): void;
  close(): void;
}

/** Signs in; rejects with RequestError where there is no token to be had. */
export async function signIn(getToken: GetToken): Promise<Session> {
  const own = tokens(getToken, Date.now);
  const { user } = claimsOf((await own.get()) ?? "");
  if (!user) throw new RequestError(401, "That is no user’s token: it has three parts, and names a user_id.");
  return session(userOf(user), own.get, own);
}

function session(me: UserRef, getToken: () => Promise<string | undefined>, own: ReturnType<typeof tokens>): Session {
  const base = new URL(".", location.href).href.replace(/\/$/, "");
  const lifetime = new AbortController();
  const wire = line();
  const journal = log(changed);
  const ask = rest({ base, platform: wire.platform, tokens: own, signal: lifetime.signal });
  const listeners = new Set<() => void>();
  let world = EMPTY_WORLD;
  let way: Way = "websocket";
  let told = false;
  let reading: Promise<unknown> = Promise.resolve();
  let client = open();

  function changed(): void {
    if (told || lifetime.signal.aborted) return;
    told = true;
    queueMicrotask(() => {
      told = false;
      for (const listener of listeners) listener();
    });
  }

  function change(how: (world: World) => World): void {
    world = how(world);
    changed();
  }

  function open(): Client {
    const made = connect({ url: base, getToken, transport: way, shared: false, platform: wire.platform });
    made.subscribe(changed);
    made.on("*", (frame) => {
      journal.frame(frame);
      change((at) => step(at, frame));
      read(asksFor(frame));
    });
    return made;
  }

  function read(what: ReturnType<typeof asksFor>): void {
    const people = async (): Promise<void> => {
      const inbox = (await ask("GET", "/api/inbox")) as Inbox;
      change((at) => withPeople(at, inbox));
    };
    const work = async (): Promise<void> => {
      const { items } = (await ask("GET", "/api/tasks?limit=20")) as { items: Task[] };
      change((at) => ({ ...at, tasks: items }));
    };
    const games = async (): Promise<void> => {
      const { items } = (await ask("GET", "/api/invites?limit=20")) as { items: Invite[] };
      change((at) => ({ ...at, invites: items.reduce(withInvite, at.invites) }));
    };
    const parts = { all: [people, work, games], people: [people], tasks: [work] };
    // One after the other, so that an older answer never covers a newer one. What fails is read after the next reconnect.
    if (what) reading = reading.then(() => Promise.allSettled(parts[what].map((part) => part())));
  }

  return {
    me,
    line: wire,
    log: journal,
    send: async (method, path, body) => {
      if (method !== "GET") journal.request(`${method} ${path}`);
      return ask(method, path, body);
    },
    client: () => client,
    way: () => way,
    world: () => world,
    change,
    meet: () => read("people"),
    switchTo: (next) => {
      way = next;
      client.close();
      client = open();
      changed();
    },
    openChat: (roomId, onFrame) =>
      chatStream({
        ...{ base, platform: wire.platform, tokens: own, way, roomId },
        onFrame: (frame) => {
          if (frame.type === "typing" || frame.type === "chat_message") journal.roomFrame(frame);
          onFrame(frame);
        },
      }),
    subscribe: (listener) => void listeners.add(listener),
    close: () => {
      lifetime.abort();
      listeners.clear();
      client.close();
    },
  };
}
