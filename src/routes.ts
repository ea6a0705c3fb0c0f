/** What is served: all route services put together for one runtime. Parts are handed in; nothing is started here. */
import type { Context, Hono } from "hono";
import type { Identity } from "./auth/token.ts";
import { signToken } from "./auth/token.ts";
import type { Config } from "./config.ts";
import type { RoomStream } from "./core/room_stream.ts";
import type { Sql } from "./db/client.ts";
import { createPreferences } from "./db/preferences.ts";
import type { Tickets } from "./db/tickets.ts";
import { createChat } from "./domain/chat.ts";
import { domainRoutes } from "./domain/routes.ts";
import { type AppServices, createApp } from "./http/app.ts";
import { type ChatRoutes, chatRoutes } from "./http/chat.ts";
import { createGate } from "./http/gate.ts";
import { type PageServices, pageRoutes, type ReadAsset } from "./http/pages.ts";
import type { Runtime } from "./transport/runtime.ts";

/** Made here, from the parts and the runtime. */
type Made = "runtime" | "gate" | "address" | "revokedAt" | "preferences" | "origins" | "domain" | "pages";

export interface RouteParts extends Omit<AppServices, Made> {
  readonly config: Config;
  readonly sql: Sql;
  readonly tickets: Tickets<Identity>;
  readonly assets: ReadAsset | undefined;
}

export interface Routes {
  app(runtime: Runtime): Hono;
  /** Ends those of these chat streams, of all by default, whose membership has ended. */
  recheckChats(streams?: readonly RoomStream[]): Promise<void>;
}

/** The page asks for a new one in time. */
const DEMO_TOKEN_SECONDS = 3_600;

export function createRoutes(parts: RouteParts): Routes {
  const { config, sql, verify, tickets, inbox } = parts;
  const { origins, trustProxy } = config;
  let chat: ChatRoutes | undefined;

  function app(runtime: Runtime): Hono {
    const services = {
      ...parts,
      runtime,
      origins,
      gate: createGate({ verify, tickets, revokedAt: inbox.revokedAt, origins, trustProxy }),
      revokedAt: parts.reader.revokedAt,
      address: (c: Context) => clientAddress(c, runtime, trustProxy),
      preferences: createPreferences(sql),
    };
    const demoTokens = parts.embedded ? demoTokensOf(config) : null;
    const pages = pageRoutes({ asset: parts.assets ?? (async () => null), demo: config.domain, demoTokens });
    if (!config.domain) return createApp({ ...services, domain: [], pages: [pages] });
    chat = chatRoutes({ ...services, chat: createChat(sql) });
    return createApp({ ...services, domain: [domainRoutes({ sql })], pages: [chat.routes, pages] });
  }

  return {
    app,
    async recheckChats(streams) {
      await chat?.recheck(streams);
    },
  };
}

/** Tokens for the demo users, where they are signed with a secret of ours. */
function demoTokensOf({ jwtSecret, jwtIssuer: iss, jwtAudience: aud, origins }: Config): PageServices["demoTokens"] {
  if (!jwtSecret) return null;
  const claims = { ...(iss ? { iss } : {}), ...(aud ? { aud } : {}) };
  return { origins, issue: (user_id) => signToken(jwtSecret, { ...claims, user_id }, DEMO_TOKEN_SECONDS) };
}

/** The n-th address from the right of X-Forwarded-For, n being the number of trusted proxies. */
function clientAddress(c: Context, runtime: Runtime, trustProxy: number): string {
  const direct = runtime.address(c);
  if (trustProxy === 0) return direct;
  const forwarded = (c.req.header("x-forwarded-for") ?? "").split(",").flatMap((part) => part.trim() || []);
  return forwarded.at(-trustProxy) ?? forwarded[0] ?? direct;
}
