/**
 * NATS: core publish and subscribe over the official client, nothing stored. Several servers of one cluster may be given
 * (`nats://a:4222,b:4222`), tried in any order. The client's own ways of coming back are off, as for Redis.
 */
import { describe, TidingsError } from "../errors.ts";
import { type DialOptions, hostOf, type Link, loadClient } from "./link.ts";
import { addressesIn, type Choice, CONNECT_MS, choose, lastWords } from "./nats_servers.ts";
import { subjectOf } from "./subject.ts";
import { isHangUp, readTlsFiles, type TlsFiles, tlsMistake } from "./tls.ts";

type Client = typeof import("@nats-io/transport-node");

function explained({ errors }: Client, thrown: unknown, files: TlsFiles): Error {
  const refuse = (cure: string): Error =>
    new TidingsError("configuration", `NATS refuses (${describe(thrown)}): ${cure}.`, { cause: thrown });
  if (thrown instanceof errors.PermissionViolationError) {
    return refuse("the user needs the rights to publish and subscribe to PREFIX.*");
  }
  if (thrown instanceof errors.AuthorizationError || thrown instanceof errors.UserAuthenticationExpiredError) {
    return refuse("correct the user and password in BUS_URL");
  }
  const told = tlsMistake("NATS", thrown, files);
  if (told) return told;
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function connectTo(client: Client, { address, isSecure }: Choice, files: TlsFiles): ReturnType<Client["connect"]> {
  const { host, username, password } = address;
  const [user, pass] = [decodeURIComponent(username), decodeURIComponent(password)];
  return client.connect({
    servers: host,
    // A name alone is a token, as the NATS tools have it.
    ...(user && pass ? { user, pass } : user ? { token: user } : {}),
    // The client gives TLS no name where it is an address; without one the certificate would be checked for localhost.
    ...(isSecure ? { tls: { host: hostOf(address), ...files } as object } : {}),
    reconnect: false,
    timeout: CONNECT_MS,
    noAsyncTraces: true,
  });
}

/** Makes one connection. As Dial has it. */
export async function dial({ url, prefix, onMessage, onLost, signal }: DialOptions): Promise<Link> {
  const addresses = addressesIn(url);
  const files = await readTlsFiles(addresses[0]!, signal);
  const client = await loadClient("@nats-io/transport-node", () => import("@nats-io/transport-node"));
  signal.throwIfAborted();
  const choice = await choose(addresses, signal);
  const told = (error: unknown): Error => explained(client, error, files);
  const connection = await connectTo(client, choice, files).catch(async (error: unknown) => {
    const isUnclear = choice.isSecure && isHangUp(error);
    throw (isUnclear && tlsMistake("NATS", await lastWords(choice, files, signal), files)) || told(error);
  });
  const lost = (error: unknown): void => onLost(told(error));
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
