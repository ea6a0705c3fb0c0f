/**
 * Unsubscribe links (RFC 8058): they say whose e-mail of which types is to be switched off, signed with HMAC-SHA256, so
 * that they work without signing in and for nothing else. They do not expire: an old mail's link is a wish like any other.
 */
import type { Sql } from "../db/client.ts";

/** Longer ones do not fit a header line (998 bytes, RFC 5322), which cannot be folded within a URL. */
const MAX_LINK = 900;

export interface Subscription {
  readonly userId: string;
  readonly types: readonly string[];
}

const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

function hmacKey(key: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

/** What is signed: JSON, so that no two subscriptions read the same; with its purpose, should the key get another. */
const statement = ({ userId, types }: Subscription): Uint8Array<ArrayBuffer> =>
  bytes(JSON.stringify(["unsubscribe", userId, ...types]));

/**
 * The link; null where it would be too long.
 * @param baseUrl where this server is reached from outside, such as https://example.com/tidings
 */
export async function unsubscribeLink(
  key: string,
  baseUrl: string,
  subscription: Subscription,
): Promise<string | null> {
  const signature = await crypto.subtle.sign("HMAC", await hmacKey(key), statement(subscription));
  const url = new URL(`${baseUrl.replace(/\/+$/, "")}/unsubscribe`);
  url.searchParams.set("user", subscription.userId);
  for (const type of subscription.types) url.searchParams.append("type", type);
  url.searchParams.set("signature", hex(new Uint8Array(signature)));
  return url.href.length <= MAX_LINK ? url.href : null;
}

/** What the query of a link asks for; null where it was not signed by us. */
export async function readUnsubscribeLink(key: string, query: URLSearchParams): Promise<Subscription | null> {
  const userId = query.get("user");
  const types = query.getAll("type");
  const signature = /^[0-9a-f]{64}$/.test(query.get("signature") ?? "") ? query.get("signature")! : null;
  if (!userId || types.length === 0 || !signature) return null;
  const given = Uint8Array.from(signature.match(/../g)!, (pair) => Number.parseInt(pair, 16));
  const subscription = { userId, types };
  // compares in constant time
  const genuine = await crypto.subtle.verify("HMAC", await hmacKey(key), given, statement(subscription));
  return genuine ? subscription : null;
}

function hex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export interface Unsubscriber {
  /** The key of all instances, from the database; asked for once. */
  key(): Promise<string>;
  /** What the link asks for, and doing it; null where the link is not ours. */
  open(query: URLSearchParams): Promise<{ readonly types: readonly string[]; apply(): Promise<void> } | null>;
}

export function createUnsubscriber(sql: Sql): Unsubscriber {
  let known: string | undefined;
  async function key(): Promise<string> {
    known ??= (await sql<{ key: string }[]>`select key from tidings.email_key`)[0]!.key;
    return known;
  }
  return {
    key,
    async open(query) {
      const subscription = await readUnsubscribeLink(await key(), query);
      if (!subscription) return null;
      const { userId, types } = subscription;
      return {
        types,
        async apply() {
          await sql`select tidings.unsubscribe_email(${userId}, ${[...types]}::text[])`;
        },
      };
    },
  };
}
