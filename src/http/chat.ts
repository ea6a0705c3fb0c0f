/**
 * Chat streams: `/ws/chat/{kind}/{room}` and the same frames at `/sse/chat/…` (CONTRACT section 4). Members only, also
 * when membership ends while connected. What a client sends is written to the table; the trigger makes the frames.
 */
import { type Context, Hono } from "hono";
import type { Identity } from "../auth/token.ts";
import { RoomStream } from "../core/room_stream.ts";
import { TidingsError } from "../errors.ts";
import type { UserRef } from "../protocol/frames.ts";
import { watchExpiry } from "./expiry.ts";
import { type Opening, openSse, openWebSocket, type Session } from "./opening.ts";
import { streamRoute } from "./schema.ts";
import { renew } from "./session.ts";
import { type StreamServices, tasteOf } from "./streams.ts";
import { createTyping } from "./typing.ts";

/** A room's member. */
export interface Member {
  readonly kind: string;
  readonly user: UserRef;
}

/** What a chat stream asks of the domain. */
export interface Chat {
  /** The room's kind and the user as others see it; null where the user is no member, or there is no such room. */
  member(roomId: number, userId: string): Promise<Member | null>;
  /** Of these pairs, the positions of those that are members no more. One query. */
  strangers(pairs: readonly { roomId: number; userId: string }[]): Promise<number[]>;
  /** Writes a message. Throws `forbidden` where the user is no member. */
  post(roomId: number, userId: string, content: string): Promise<void>;
  /** A transient event to the room's streams. */
  announce(roomId: number, payload: Record<string, unknown>): Promise<void>;
}

export interface ChatServices extends StreamServices {
  readonly chat: Chat;
}

export interface ChatRoutes {
  readonly routes: Hono;
  /** Ends those of these streams whose users are members no more; of all, for when an announcement may have been lost. */
  recheck(streams?: readonly RoomStream[]): Promise<void>;
}

export function chatRoutes(services: ChatServices): ChatRoutes {
  const { chat, timing } = services;
  const open = new Set<RoomStream>();
  const routes = new Hono();
  const opening = (c: Context, heartbeatMs: number): Opening => {
    const kind = c.req.param("kind")!;
    const roomId = Number(c.req.param("room"));
    const { types } = tasteOf(c);
    return {
      kind: "chat",
      async prepare(identity) {
        const member = await chat.member(roomId, identity.userId);
        if (!member || (kind !== "room" && kind !== member.kind))
          return { refused: "forbidden", reason: "members only" };
        return (transport) => {
          const stream = new RoomStream(identity.userId, identity.issuedAt, roomId, types, transport);
          return openChat(services, open, identity, member, stream, heartbeatMs / 1_000);
        };
      },
    };
  };
  routes.get(
    "/ws/chat/:kind{direct|task|group|room}/:room{[0-9]{1,15}}",
    streamRoute("A room's stream over WebSocket", 101),
    (c) => openWebSocket(services, c, opening(c, timing.heartbeatMs ?? 25_000)),
  );
  routes.get(
    "/sse/chat/:kind{direct|task|group|room}/:room{[0-9]{1,15}}",
    streamRoute("A room's stream over SSE", 200),
    (c) => openSse(services, c, opening(c, timing.sseHeartbeatMs ?? 20_000)),
  );
  return {
    routes,
    async recheck(streams = [...open]) {
      if (streams.length === 0) return;
      for (const at of await chat.strangers(streams)) streams[at]!.end("forbidden", "no longer a member");
    },
  };
}

function openChat(
  services: ChatServices,
  open: Set<RoomStream>,
  identity: Identity,
  member: Member,
  stream: RoomStream,
  heartbeatSeconds: number,
): Session {
  const { chat, hub, log } = services;
  const { roomId } = stream;
  const typing = createTyping((is_typing) =>
    chat.announce(roomId, { type: "typing", data: { room_id: roomId, user: member.user, is_typing } }),
  );
  const expiry = watchExpiry(identity, () => stream.end("unauthenticated", "token expired"));
  const leave = hub.joinRoom([`room_${roomId}`, `${member.kind}_${roomId}`], stream);
  open.add(stream);
  begin(services, identity, stream, heartbeatSeconds).catch((error) => {
    log.warn({ err: error }, "a chat stream could not start");
    stream.end("overloaded", "try again later");
  });

  return {
    async command(frame) {
      switch (frame.type) {
        case "chat_message":
          await chat.post(roomId, identity.userId, frame.content);
          return typing.done();
        case "typing":
          return typing.set(frame.is_typing);
        case "auth":
          return renew(services, identity, expiry, stream, frame.token);
        default:
          throw new TidingsError("bad_request", `${frame.type} belongs on the notification stream.`);
      }
    },
    closed() {
      open.delete(stream);
      expiry.stop();
      leave();
      typing.done().catch((error) => log.warn({ err: error }, "a typing frame was not sent"));
    },
  };
}

/** After joining: whoever left the room, or was revoked, in between is not let in. */
async function begin(
  { chat, reader }: ChatServices,
  identity: Identity,
  stream: RoomStream,
  heartbeat_seconds: number,
): Promise<void> {
  const { roomId, userId } = stream;
  const [member, page] = await Promise.all([chat.member(roomId, userId), reader.read(userId, null, true)]);
  if (!member) return stream.end("forbidden", "no longer a member");
  if (page.revokedAt >= stream.issuedAt) return stream.end("unauthenticated", "token revoked");
  stream.ready({
    user_id: identity.claim,
    last_event_id: page.lastId,
    unread_count: page.unreadCount,
    resume: "live",
    heartbeat_seconds,
    room_id: roomId,
  });
}
