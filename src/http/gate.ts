/**
 * Who asks, and may this page ask: finds the token, verifies it, refuses revoked ones, checks the origin.
 * One gate for REST and streams. A cookie counts only where the origin is allowed (cross-site requests carry it too).
 */
import type { Context, MiddlewareHandler } from "hono";
import { admissible, type OriginPolicy, originAllowed } from "../auth/origin.ts";
import { authenticate, type Found, restOffer } from "../auth/place.ts";
import type { Identity, Verify } from "../auth/token.ts";
import type { Tickets } from "../db/tickets.ts";
import { TidingsError } from "../errors.ts";
import type { Env } from "./env.ts";

export interface GateOptions {
  readonly verify: Verify;
  readonly tickets: Tickets<Identity>;
  /** Epoch seconds; tokens issued at or before are refused. */
  revokedAt(userId: string): Promise<number>;
  readonly origins: OriginPolicy;
  /** Proxies whose X-Forwarded-* headers count. */
  readonly trustProxy: number;
}

export interface Gate {
  /** Requires a token; sets `identity`. */
  readonly rest: MiddlewareHandler<Env>;
  /** Requires a service token: one with any of these scopes. */
  scope(...names: string[]): MiddlewareHandler<Env>;
  /** The candidates this page may authenticate with; throws `forbidden` for a foreign origin. */
  candidates(c: Context, found: readonly Found[]): readonly Found[];
  /** Tries the candidates. Whether the user was revoked is left to the stream's first read. Throws `unauthenticated`. */
  identify(found: readonly Found[]): Promise<Identity>;
  readonly verify: Verify;
}

const WRITES: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH", "DELETE"]);

export function createGate(options: GateOptions): Gate {
  const { verify, tickets, revokedAt, origins, trustProxy } = options;

  function allowed(c: Context, credential: "cookie" | "explicit"): boolean {
    const forwarded = trustProxy > 0;
    const host = (forwarded && c.req.header("x-forwarded-host")?.split(",")[0]?.trim()) || c.req.header("host") || null;
    const proto = (forwarded && c.req.header("x-forwarded-proto")?.split(",")[0]?.trim()) || "http";
    return originAllowed(origins, c.req.header("origin") ?? null, host, proto, credential);
  }

  async function check(found: Found): Promise<Identity> {
    if (found.place !== "ticket") return verify(found.token);
    const identity = await tickets.redeem(found.token);
    if (!identity) throw new TidingsError("unauthenticated", "The ticket is unknown, used or expired: buy a new one.");
    return identity;
  }

  const rest: MiddlewareHandler<Env> = async (c, next) => {
    const { identity, place } = await authenticate(restOffer(c.req.raw.headers), check);
    // every browser names the origin of a write: without one it is no page of ours either
    if (place === "cookie" && WRITES.has(c.req.method) && !(c.req.header("origin") && allowed(c, "cookie"))) {
      throw new TidingsError(
        "forbidden",
        "A write with the cookie takes an Origin that may: add this page's to ALLOWED_ORIGINS, or send Authorization.",
      );
    }
    if ((await revokedAt(identity.userId)) >= identity.issuedAt) {
      throw new TidingsError("unauthenticated", "The token was revoked: sign in again.");
    }
    c.set("identity", identity);
    c.set("place", place);
    await next();
  };

  return {
    rest,
    verify,
    scope:
      (...names) =>
      async (c, next) => {
        await rest(c, async () => {
          if (!c.get("identity").scopes.some((scope) => names.includes(scope))) {
            throw new TidingsError("forbidden", `This takes a service token with the scope ${names.join(" or ")}.`);
          }
          await next();
        });
      },
    candidates(c, found) {
      const candidates = admissible(found, (credential) => allowed(c, credential));
      if (!candidates) {
        throw new TidingsError("forbidden", "This page's origin may not open streams: add it to ALLOWED_ORIGINS.");
      }
      return candidates;
    },
    async identify(found) {
      return (await authenticate(found, check)).identity;
    },
  };
}
