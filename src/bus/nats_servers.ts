/** The NATS servers that are given: their addresses, which of them is there, and what it says before the client is let in. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { TidingsError } from "../errors.ts";
import { ASK_MS, outcome } from "./ask.ts";
import { hostOf, parseAddress } from "./link.ts";
import { peerOf, type TlsFiles, wantsTls } from "./tls.ts";

const PORT = 4222;
/** For one server to greet, or to finish connecting. */
export const CONNECT_MS = 3_000;

/** Each server that is given, with the user and password of the first and the parameters of the last. */
export function addressesIn(text: string): URL[] {
  const [, scheme, rest = "", parameters = ""] = /^([a-z]+:\/\/)([^?]*)(.*)$/i.exec(text) ?? [];
  const at = rest.lastIndexOf("@") + 1;
  const [user, hosts] = [rest.slice(0, at), rest.slice(at).split(",")];
  return hosts.map((host) => parseAddress(`${scheme}${user}${host.trim()}${parameters}`));
}

const open = (address: URL): Socket => connectTcp({ host: hostOf(address), port: Number(address.port || PORT) });

/**
 * Resolves when a NATS server greets there, with whether it has TLS. The client leaves its socket open for ever when a
 * server accepts and says nothing (a frozen one), and cannot be stopped while it waits for that.
 */
function greeted(address: URL, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = open(address);
    let greeting = "";
    const end = (error?: Error): void => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      if (error) reject(error);
      else resolve(/"tls_(required|available)": *true/.test(greeting));
    };
    const hear = (text: string): void => {
      greeting += text;
      if (greeting.includes("\n")) end();
    };
    const abort = (): void => end(signal.reason as Error);
    const silent = new TidingsError("unavailable", `NATS did not answer within ${CONNECT_MS} ms.`);
    socket.setTimeout(CONNECT_MS, () => end(silent));
    socket.setEncoding("utf8").on("data", hear).on("error", end);
    socket.on("close", () => end(new TidingsError("unavailable", "NATS closed the connection without a word.")));
    signal.addEventListener("abort", abort);
  });
}

const NO_TLS = "NATS has no TLS at the address in BUS_URL: begin it with nats://, or give the server a certificate.";

export interface Choice {
  readonly address: URL;
  readonly isSecure: boolean;
}

/** One server that is there, of those given, and whether to speak TLS to it: where the address or the server wants it. */
export async function choose(addresses: readonly URL[], signal: AbortSignal): Promise<Choice> {
  const untried = [...addresses];
  for (;;) {
    const [address] = untried.splice(Math.floor(Math.random() * untried.length), 1);
    try {
      const hasTls = await greeted(address!, signal);
      if (wantsTls(address!) && !hasTls) throw new TidingsError("configuration", NO_TLS);
      return { address: address!, isSecure: hasTls };
    } catch (error) {
      if (untried.length === 0 || signal.aborted) throw error;
    }
  }
}

/**
 * The error that a server ends TLS with when it has hung up. What it says of a client's certificate is lost where it
 * hangs up on what the client has sent by then, so the handshake is repeated and nothing sent.
 */
export async function lastWords({ address }: Choice, files: TlsFiles, signal: AbortSignal): Promise<unknown> {
  const socket = open(address);
  const closed = new AbortController();
  const cut = (): void => void socket.destroy();
  socket.on("close", () => closed.abort()).on("error", () => {});
  socket.setTimeout(ASK_MS, cut);
  signal.addEventListener("abort", cut);
  if (signal.aborted) cut();
  try {
    await once(socket, "data", { signal: closed.signal });
  } catch {
    cut();
    return undefined;
  }
  return outcome(connectTls({ socket, ...peerOf(address), ...files }), "close", signal);
}
