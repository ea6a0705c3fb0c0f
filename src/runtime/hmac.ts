/**
 * HMAC-SHA-256 without a promise. WebCrypto hands each one to a thread and back: forty microseconds of work for one of
 * two, and in a storm of handshakes no read begins before thousands of them are through.
 */
import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";

/** @returns whether `signature`, as base64url, is that of `text` under the secret; false for any other spelling of it too */
export function hmacCheck(secret: string): (text: string, signature: string) => boolean {
  const key = createSecretKey(secret, "utf8");
  return (text, signature) => {
    const own = Buffer.from(createHmac("sha256", key).update(text).digest("base64url"));
    const given = Buffer.from(signature);
    return own.length === given.length && timingSafeEqual(own, given);
  };
}
