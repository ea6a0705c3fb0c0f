/**
 * Why Redis could not be connected to. With TLS on one side only, neither says so: each waits for the other or hangs up.
 * So it is asked the other way, on a connection of its own.
 */
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { TidingsError } from "../errors.ts";
import { outcome } from "./ask.ts";
import { isAlert, isHangUp, peerOf, type TlsFiles, tlsMistake, wantsTls } from "./tls.ts";

export interface Attempt {
  readonly address: URL;
  readonly port: number;
  readonly files: TlsFiles;
  /** Over TLS, and its handshake was done. */
  readonly isHandshakeDone: boolean;
  readonly signal: AbortSignal;
}

const CODE_OF_GARBAGE = /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG))$/;

const wrong = (what: string, schemes: string): TidingsError =>
  new TidingsError("configuration", `Redis ${what} at the address in BUS_URL: begin it with ${schemes}.`);

/** A TidingsError "configuration" when there is a reason that trying again does not cure, else what was thrown. */
export async function redisTrouble(thrown: unknown, attempt: Attempt): Promise<unknown> {
  const { address, port, files, isHandshakeDone, signal } = attempt;
  const told = tlsMistake("Redis", thrown, files);
  if (told) return told;
  const { code } = thrown as { code?: unknown };
  if (isHandshakeDone) return thrown;
  // Node's errors have a code, those of the client (a timeout, an answer that is none) do not.
  if (code !== undefined && !isHangUp(thrown) && !CODE_OF_GARBAGE.test(String(code))) return thrown;
  const peer = { ...peerOf(address), port };
  if (wantsTls(address)) {
    const socket = connectTcp(peer, () => socket.write("PING\r\n"));
    const answer = String(await outcome(socket, "data", signal));
    // PONG, or that one has to log in
    return /^[+-]/.test(answer) ? wrong("has no TLS", "redis:// or valkey://") : thrown;
  }
  // Nothing is sent over it, so that it does not matter who it is.
  const seen = await outcome(connectTls({ ...peer, rejectUnauthorized: false }), "secureConnect", signal);
  return seen === true || isAlert(seen) ? wrong("speaks TLS only", "rediss:// or valkeys://") : thrown;
}
