/**
 * NATS: core publish and subscribe over the official client, nothing stored. Several servers of one cluster may be given
 * (`nats://a:4222,b:4222`), tried in any order. The client's own ways of coming back are off, as for Redis.
 */
import { connect as connectTcp } from "node:net";
import { describe, TidingsError } from "../errors.ts";
import {
  CERTIFICATE,
  CERTIFICATE_CURE,
  type DialOptions,
  hostOf,
  type Link,
  loadClient,
  parseAddress,
} from "./link.ts";
import { subjectOf } from "./subject.ts";

const PORT = 4222;
/** For one server to greet, or to finish connecting. */
const CONNECT_MS = 3_000;

/** Each server that is given, with the user and password of the first. */
function addressesIn(text: string): URL[] {
  const [, scheme, rest = ""] = /^([a-z]+:\/\/)(.*)$/i.exec(text) ?? [];
  const at = rest.lastIndexOf("@") + 1;
  const [user, hosts] = [rest.slice(0, at), rest.slice(at).split(",")];
  return hosts.map((host) => parseAddress(`${scheme}${user}${host.trim()}`));
}

/**
 * Resolves when a NATS server greets there, with whether it has TLS. The client leaves its socket open for ever when a
 * server accepts and says nothing (a frozen one), and cannot be stopped while it waits for that.
 */
function greeted(address: URL, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: hostOf(address), port: Number(address.port || PORT) });
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

interface Choice {
  readonly address: URL;
  readonly isSecure: boolean;
}

/** One server that is there, of those given, and whether to speak TLS to it: where the address or the server wants it. */
async function choose(addresses: readonly URL[], signal: AbortSignal): Promise<Choice> {
  const untried = [...addresses];
  for (;;) {
    const [address] = untried.splice(Math.floor(Math.random() * untried.length), 1);
    try {
      const hasTls = await greeted(address!, signal);
      return { address: address!, isSecure: hasTls || address!.protocol === "tls:" };
    } catch (error) {
      if (untried.length === 0 || signal.aborted) throw error;
    }
  }
}

type Client = typeof import("@nats-io/transport-node");

function explained({ errors }: Client, thrown: unknown): Error {
  const { code } = thrown as { code?: unknown };
  const refuse = (cure: string): Error =>
    new TidingsError("configuration", `NATS refuses (${describe(thrown)}): ${cure}.`, { cause: thrown });
  if (thrown instanceof errors.PermissionViolationError) {
    return refuse("the user needs the rights to publish and subscribe to PREFIX.*");
  }
  if (thrown instanceof errors.AuthorizationError || thrown instanceof errors.UserAuthenticationExpiredError) {
    return refuse("correct the user and password in BUS_URL");
  }
  if (CERTIFICATE.test(String(code))) return refuse(CERTIFICATE_CURE);
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function connectTo(client: Client, { address, isSecure }: Choice): ReturnType<Client["connect"]> {
  const { host, username, password } = address;
  const [user, pass] = [decodeURIComponent(username), decodeURIComponent(password)];
  return client.connect({
    servers: host,
    // A name alone is a token, as the NATS tools have it.
    ...(user && pass ? { user, pass } : user ? { token: user } : {}),
    // The client gives TLS no name where it is an address; without one the certificate would be checked for localhost.
    ...(isSecure ? { tls: { host: hostOf(address) } as object } : {}),
    reconnect: false,
    timeout: CONNECT_MS,
    noAsyncTraces: true,
  });
}

/** Makes one connection. As Dial has it. */
export async function dial({ url, prefix, onMessage, onLost, signal }: DialOptions): Promise<Link> {
  const addresses = addressesIn(url);
  const client = await loadClient("@nats-io/transport-node", () => import("@nats-io/transport-node"));
  signal.throwIfAborted();
  const choice = await choose(addresses, signal);
  const connection = await connectTo(client, choice).catch((error) => Promise.reject(explained(client, error)));
  const lost = (error: unknown): void => onLost(explained(client, error));
  void connection
    .closed()
    .then((error) => lost(error ?? new TidingsError("unavailable", "NATS closed the connection.")));
  // Publishing without the right to is answered here and nowhere else.
  void (async () => {
    for await (const status of connection.status()) if (status.type === "error") lost(status.error);
  })();
  const live = new Map<string, { unsubscribe(): void }>();
  const callback = (error: Error | null, message: { string(): string }): void => {
    if (error) lost(error);
    else onMessage(message.string());
  };
  return {
    maxBytes: connection.info?.max_payload ?? 1_048_576,
    subscribe(groups) {
      for (const group of groups) live.set(group, connection.subscribe(subjectOf(prefix, group), { callback }));
      return connection.flush();
    },
    async unsubscribe(groups) {
      for (const group of groups) {
        live.get(group)?.unsubscribe();
        live.delete(group);
      }
    },
    publish(messages) {
      for (const { group, text } of messages) connection.publish(subjectOf(prefix, group), text);
      return connection.flush();
    },
    ping: () => connection.flush(),
    close: () => connection.close(),
  };
}
