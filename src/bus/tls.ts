/**
 * TLS to an engine, the same for all: the files that BUS_URL names, with the names that addresses of Postgres have, and
 * what the failures of TLS mean. The values of the parameters are never shown, nor names that are unknown: a password
 * with a bare `?` ends up there, or a key where its file should be.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { describe, TidingsError } from "../errors.ts";
import { hostOf } from "./link.ts";

const NAMES = ["sslrootcert", "sslcert", "sslkey"] as const;
type Name = (typeof NAMES)[number];

/** The contents of the files, as node:tls takes them. `ca` replaces the authorities that Node trusts by itself. */
export interface TlsFiles {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

const mistake = (text: string): TidingsError => new TidingsError("configuration", `BUS_URL (not shown) ${text}.`);

/** Whether an address asks for TLS. */
export const wantsTls = ({ protocol }: URL): boolean => /^(rediss|valkeys|tls):$/.test(protocol);

/** Where to, as node:tls takes it: a name is sent along (SNI), and the certificate is checked for it or for the address. */
export function peerOf(address: URL): { host: string; servername?: string } {
  const host = hostOf(address);
  return isIP(host) ? { host } : { host, servername: host };
}

/** Not by URLSearchParams, to which a + in a path is a space. */
function parametersOf({ search }: URL): ReadonlyMap<Name, string> {
  const found = new Map<Name, string>();
  for (const part of search.slice(1).split("&").filter(Boolean)) {
    const [, word, value] = /^(\w+)=(.+)$/.exec(part) ?? [];
    const name = NAMES.find((known) => known === word);
    if (!name || found.has(name)) {
      const known = NAMES.join(", ");
      throw mistake(`takes the parameters ${known}, each once and with the path of a file; write a ? elsewhere as %3F`);
    }
    try {
      found.set(name, decodeURIComponent(value!));
    } catch {
      throw mistake(`has a % in ${name} that is not followed by two digits: write %25`);
    }
  }
  return found;
}

async function contentOf(name: Name, path: string | undefined, signal: AbortSignal): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, { encoding: "utf8", signal });
  } catch (error) {
    signal.throwIfAborted();
    // What follows the comma is the path.
    const reason = /^E[A-Z]+: [^,]*/.exec(describe(error))?.[0] ?? "no path";
    throw mistake(`names a file as ${name} that cannot be read (${reason}): correct its path or its rights`);
  }
}

function parsed<T>(name: Name, what: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw mistake(`names a file as ${name} that holds no ${what}`);
  }
}

/**
 * Reads the files that an address names. To be called for each connection, so that the next one takes renewed files.
 * Rejects with TidingsError "configuration" on parameters and files that will not do.
 */
export async function readTlsFiles(address: URL, signal: AbortSignal): Promise<TlsFiles> {
  const paths = parametersOf(address);
  if (paths.size > 0 && !wantsTls(address)) {
    throw mistake(`has ${[...paths.keys()].join(", ")}, but no TLS: begin it with rediss://, valkeys:// or tls://`);
  }
  if (paths.has("sslcert") !== paths.has("sslkey")) throw mistake("has one of sslcert and sslkey: give both");
  const read = (name: Name): Promise<string | undefined> => contentOf(name, paths.get(name), signal);
  const [ca, cert, key] = await Promise.all([read("sslrootcert"), read("sslcert"), read("sslkey")]);
  if (ca !== undefined) parsed("sslrootcert", "certificate in PEM", () => new X509Certificate(ca));
  if (cert === undefined || key === undefined) return ca === undefined ? {} : { ca };
  const own = parsed("sslcert", "certificate in PEM", () => new X509Certificate(cert));
  const secret = parsed("sslkey", "private key in PEM, or one with a passphrase", () => createPrivateKey(key));
  if (!own.checkPrivateKey(secret)) throw mistake("names a file as sslkey that is not the key of the one in sslcert");
  return ca === undefined ? { cert, key } : { ca, cert, key };
}

/** What TLS says of a certificate of the engine that will not do. */
const CERTIFICATE = /^(ERR_TLS_CERT\w*|CERT_\w+|\w*SELF_SIGNED\w*|UNABLE_TO_\w+)$/;
/** What an engine says that wants a certificate and got none, or no good one; which word it takes is up to its library. */
const ALERT = /^ERR_SSL_.*_ALERT_(.*CERTIFICATE.*|UNKNOWN_CA|HANDSHAKE_FAILURE)$/;

const codeOf = (thrown: unknown): string => String((thrown as { code?: unknown } | undefined)?.code);

/** Whether the other side spoke TLS, if only to refuse. */
export const isAlert = (thrown: unknown): boolean => /^ERR_SSL_.*_ALERT_/.test(codeOf(thrown));

/** Whether the other side hung up without a word, or with one that got lost. */
export const isHangUp = (thrown: unknown): boolean => /^(ECONNRESET|EPIPE)$/.test(codeOf(thrown));

function cureOf(code: string, hasCertificate: boolean): string | undefined {
  if (code === "CERT_HAS_EXPIRED") return "renew its certificate, or set the clock of this machine";
  if (CERTIFICATE.test(code)) {
    const trust = "name its authority (?sslrootcert=FILE in BUS_URL, or NODE_EXTRA_CA_CERTS)";
    return `correct the certificate or the address in BUS_URL, or ${trust}`;
  }
  if (!ALERT.test(code)) return undefined;
  if (hasCertificate) return "give a certificate in sslcert of BUS_URL that is valid and of an authority it trusts";
  return "it asks for a client certificate, give one (?sslcert=FILE&sslkey=FILE in BUS_URL)";
}

/** What trying again does not cure in TLS, and what to do about it; undefined of anything else. */
export function tlsMistake(engine: string, thrown: unknown, { cert }: TlsFiles): TidingsError | undefined {
  const code = codeOf(thrown);
  const cure = cureOf(code, cert !== undefined);
  if (cure === undefined) return undefined;
  // The text of an alert is OpenSSL's, with the lines of its source.
  const [, alert] = ALERT.exec(code) ?? [];
  const reason = alert?.toLowerCase().replaceAll("_", " ") ?? describe(thrown);
  return new TidingsError("configuration", `${engine} refuses (${reason}): ${cure}.`, { cause: thrown });
}
