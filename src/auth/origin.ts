/**
 * Which web pages may open streams and write with a cookie (ALLOWED_ORIGINS). Pure.
 * Promises: origins are compared normalised (lower case, default ports dropped); a request without `Origin` is no
 * browser's and passes; the server's own host and port always pass; `*` admits tokens a page had to be given, never
 * the cookie a browser attaches by itself. Refuses wildcards inside a host name.
 */
import { TidingsError } from "../errors.ts";
import type { Found } from "./place.ts";

export interface OriginPolicy {
  /** Normalised origins, or `*`. */
  readonly allowed: readonly string[];
  /** Any port of this machine passes, over http and https. */
  readonly anyLocalhost: boolean;
}

/** `cookie`: the browser attached it. `explicit`: whoever made the request had to know it. */
export type Credential = "cookie" | "explicit";

const LOCAL_HOSTS: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Reads ALLOWED_ORIGINS, a comma list.
 * @param embedded on the embedded database an empty list admits any localhost port
 * @throws `configuration`, naming every entry that is no origin
 */
export function parseOrigins(text: string, embedded: boolean): OriginPolicy {
  const entries = text.split(",").flatMap((entry) => entry.trim() || []);
  const bad = entries.filter((entry) => entry !== "*" && !isConfigurable(entry));
  if (bad.length > 0) {
    throw new TidingsError(
      "configuration",
      `ALLOWED_ORIGINS: ${bad.map((entry) => JSON.stringify(entry)).join(", ")} is no origin; ` +
        "write scheme://host[:port] without a path, for example https://app.example.com, or * for every page.",
    );
  }
  const allowed = entries.map((entry) => (entry === "*" ? entry : normalised(entry)!));
  return Object.freeze({ allowed: Object.freeze(allowed), anyLocalhost: embedded && entries.length === 0 });
}

/**
 * Whether a request with this `Origin` passes.
 * @param origin the `Origin` header, `null` when there is none
 * @param host the `Host` header, or `X-Forwarded-Host` when proxies are trusted
 * @param proto how this server was reached: `http` or `https` (`ws`, `wss`)
 */
export function originAllowed(
  policy: OriginPolicy,
  origin: string | null,
  host: string | null,
  proto: string,
  credential: Credential,
): boolean {
  if (origin === null) return true;
  const any = policy.allowed.includes("*") && credential === "explicit";
  if (origin === "null") return any;
  const from = normalised(origin);
  if (from === undefined) return false;
  if (any || policy.allowed.includes(from)) return true;
  if (host !== null && schemesOf(proto).some((scheme) => normalised(`${scheme}://${host}`) === from)) return true;
  return policy.anyLocalhost && isLocal(from);
}

/**
 * What is left to authenticate with, given what the page may use; `undefined`: answer 403.
 * Under `*` a foreign page's explicit token is tried, and the cookie sent along with it is not.
 */
export function admissible(
  candidates: readonly Found[],
  allowed: (credential: Credential) => boolean,
): readonly Found[] | undefined {
  if (allowed("cookie")) return candidates;
  if (!allowed("explicit")) return undefined;
  const explicit = candidates.filter((each) => each.place !== "cookie");
  return explicit.length === 0 && candidates.length > 0 ? undefined : explicit;
}

/** Plain http may be what a proxy that ends TLS speaks to us, its page being https; https is never reached from http. */
function schemesOf(proto: string): readonly string[] {
  return /^(https|wss):?$/i.test(proto) ? ["https"] : ["http", "https"];
}

function isLocal(origin: string): boolean {
  const { protocol, hostname } = new URL(origin);
  return (protocol === "http:" || protocol === "https:") && LOCAL_HOSTS.has(hostname);
}

function isConfigurable(entry: string): boolean {
  const origin = normalised(entry);
  return origin !== undefined && !origin.includes("*") && !/^wss?:/.test(origin);
}

/** `scheme://host[:port]`, also for the schemes of app shells such as `capacitor://localhost`; anything more is no origin. */
function normalised(text: string): string | undefined {
  if (!/^[a-z][a-z\d+.-]*:\/\/[^/\\?#@\s]+\/?$/i.test(text) || !URL.canParse(text)) return undefined;
  const { protocol, host } = new URL(text);
  return `${protocol}//${host.toLowerCase()}`;
}
