/** A room's stream, by the SDK's own connection: the same reconnects, the same way round where sockets are blocked. */
import { connection } from "../client/connection.ts";
import type { AnyFrame, Way } from "../client/index.ts";
import type { Platform } from "../client/platform.ts";
import { openSse } from "../client/sse.ts";
import type { Tokens } from "../client/token.ts";
import type { Transport } from "../client/transport.ts";
import { openWebSocket } from "../client/websocket.ts";

export interface ChatStream {
  /** Tells the others, where there is a way up. */
  typing(isTyping: boolean): void;
  close(): void;
}

export interface ChatOptions {
  readonly base: string;
  readonly platform: Platform;
  readonly tokens: Tokens;
  readonly way: Way;
  readonly roomId: number;
  /** `ready` comes again after every reconnect: what was said meanwhile has to be read. */
  onFrame(frame: AnyFrame): void;
}

export function chatStream({ base, platform, tokens, way, roomId, onFrame }: ChatOptions): ChatStream {
  const lifetime = new AbortController();
  let transport: Transport | undefined;
  const dispatch = connection({
    platform,
    transport: way,
    prepare: async (fresh) => void (await tokens.get(fresh)),
    open: (by, sink) => {
      const path = `/chat/room/${roomId}/`;
      transport =
        by === "sse"
          ? openSse(platform, `${base}/sse${path}?heartbeat=1`, tokens.kept(), undefined, sink)
          : openWebSocket(platform.WebSocket!, `${base}/ws${path}`, tokens.kept(), sink);
      return transport;
    },
    renew: () => tokens.get(true),
    expiresAt: tokens.expiresAt,
    onFrame,
    onChange: () => {},
    onDeadLeader: () => {},
  });
  platform.listen(dispatch, lifetime.signal);
  dispatch("start");
  return {
    typing: (isTyping) => transport?.send({ type: "typing", is_typing: isTyping }),
    close: () => {
      dispatch("stop");
      lifetime.abort();
    },
  };
}
