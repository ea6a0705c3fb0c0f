/**
 * One open notification stream from its first read to its end: the stream in the hub, the token's expiry, and what
 * its client asks over a WebSocket.
 */
import type { Identity, Verify } from "../auth/token.ts";
import type { Taste } from "../core/entry.ts";
import type { Hub } from "../core/hub.ts";
import type { Reader } from "../core/reader.ts";
import { Stream, type StreamEvents } from "../core/stream.ts";
import type { Transport } from "../core/transport.ts";
import type { Inbox } from "../db/inbox.ts";
import { TidingsError } from "../errors.ts";
import type { AskedCursor } from "../protocol/cursor.ts";
import type { Command } from "../transport/websocket.ts";
import { type Expiry, watchExpiry } from "./expiry.ts";

export interface SessionServices {
  readonly hub: Hub;
  readonly reader: Reader;
  readonly inbox: Inbox;
  readonly verify: Verify;
  readonly streamEvents: StreamEvents;
  /** A user's first stream opened, or one closed, here. */
  readonly presence?: { opened(userId: string): void; closed(userId: string): void } | undefined;
}

export interface Session {
  /** A client's frame. Rejects with the TidingsError to answer. */
  command(frame: Command): Promise<void>;
  /** The transport is gone. */
  closed(): void;
}

export function openSession(
  services: SessionServices,
  identity: Identity,
  asked: AskedCursor,
  taste: Taste,
  heartbeatSeconds: number,
  transport: Transport,
): Session {
  const { hub, reader, streamEvents: events, presence } = services;
  const { userId, claim, issuedAt } = identity;
  const stream = new Stream({ userId, claim, issuedAt, asked, taste, heartbeatSeconds, transport, reader, events });
  const session = new NotificationSession(services, identity, stream, hub.join(stream));
  presence?.opened(userId);
  stream.wake();
  return session;
}

/** A class, not closures: there is one for each idle stream. */
class NotificationSession implements Session {
  readonly #services: SessionServices;
  readonly #identity: Identity;
  readonly #stream: Stream;
  readonly #leave: () => void;
  readonly #expiry: Expiry;

  constructor(services: SessionServices, identity: Identity, stream: Stream, leave: () => void) {
    this.#services = services;
    this.#identity = identity;
    this.#stream = stream;
    this.#leave = leave;
    this.#expiry = watchExpiry(identity, () => stream.end("unauthenticated", "token expired"));
  }

  async command(frame: Command): Promise<void> {
    const { inbox } = this.#services;
    const { userId } = this.#identity;
    switch (frame.type) {
      case "get_unread_count":
        return this.#sendCount();
      case "mark_read": {
        const marked = await inbox.mark(userId, Number(frame.notification_id), "read");
        if (!marked) throw new TidingsError("not_found", `You have no notification ${frame.notification_id}.`);
        return;
      }
      case "mark_all_read":
        await inbox.markAllRead(userId);
        return;
      case "auth":
        return renew(this.#services, this.#identity, this.#expiry, this.#stream, frame.token);
      default:
        throw new TidingsError("bad_request", `${frame.type} belongs on a chat stream.`);
    }
  }

  closed(): void {
    this.#stream.closed();
    this.#expiry.stop();
    this.#leave();
    this.#services.presence?.closed(this.#identity.userId);
  }

  async #sendCount(): Promise<void> {
    const data = await this.#services.reader.unread(this.#identity.userId);
    this.#stream.transport.write([{ type: "unread_count", json: JSON.stringify({ type: "unread_count", data }) }]);
  }
}

/** Renews the token in place. Another user's ends the stream; a bad one leaves the old expiry standing. */
export async function renew(
  { verify, inbox }: Pick<SessionServices, "verify" | "inbox">,
  identity: Identity,
  expiry: Expiry,
  stream: { end(cause: "forbidden", reason: string): void; readonly transport: Transport; issuedAt: number },
  token: string,
): Promise<void> {
  const renewed = await verify(token);
  if (renewed.userId !== identity.userId) return stream.end("forbidden", "token of another user");
  if ((await inbox.revokedAt(renewed.userId)) >= renewed.issuedAt) {
    throw new TidingsError("unauthenticated", "The token was revoked: sign in again.");
  }
  expiry.renew(renewed);
  stream.issuedAt = renewed.issuedAt;
  const expires_at = `${new Date(renewed.expiresAt * 1_000).toISOString().slice(0, -1)}000Z`;
  stream.transport.write([{ type: "auth", json: JSON.stringify({ type: "auth", data: { expires_at } }) }]);
}
