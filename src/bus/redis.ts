/**
 * Redis 7 or newer, and Valkey: sharded pub/sub over the official client, one connection for all (RESP3 lets a subscriber
 * publish). The client's own ways of coming back are off: it would queue what is no news any more, and say nothing of
 * what was missed.
 */
import { describe, TidingsError } from "../errors.ts";
import { type DialOptions, type Link, loadClient, parseAddress } from "./link.ts";
import { redisTrouble } from "./redis_trouble.ts";
import { channelOf } from "./subject.ts";
import { peerOf, readTlsFiles, wantsTls } from "./tls.ts";

/**
 * Redis takes 512 MB, but cuts off a subscriber that is 32 MB behind. The same as NATS has, so that a deployment can
 * change the engine.
 */
const MAX_BYTES = 1_048_576;
/** Channels in one command: one that is longer keeps the engine from everybody else. */
const CHUNK = 1_000;

const PORT = 6379;
/** For TCP (and TLS), which the client cannot be stopped in. */
const CONNECT_MS = 3_000;

/** What trying again does not cure, and what to do about it. */
const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [/^(WRONGPASS|NOAUTH|ERR AUTH|ERR invalid password)/i, "correct the user and password in BUS_URL"],
  [/^NOPERM/, "the user needs +ssubscribe +sunsubscribe +spublish +ping and the channels of the prefix (&PREFIX:*)"],
  [/^(NOPROTO|ERR unknown command)/i, "Redis 7 or newer, or Valkey, is needed"],
  [/^ERR .*DB index/i, "leave the number at the end of BUS_URL out: pub/sub has no databases"],
];

function explained(thrown: unknown): unknown {
  const message = describe(thrown);
  const [, cure] = REFUSALS.find(([pattern]) => pattern.test(message)) ?? [];
  if (!cure) return thrown;
  return new TidingsError("configuration", `Redis refuses (${message}): ${cure}.`, { cause: thrown });
}

async function withReasons<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => Promise.reject(explained(error)));
}

/** Makes one connection. As Dial has it. */
export async function dial({ url, prefix, onMessage, onLost, signal }: DialOptions): Promise<Link> {
  const address = parseAddress(url);
  const files = await readTlsFiles(address, signal);
  const { createClient } = await loadClient("redis", () => import("redis"));
  signal.throwIfAborted();
  const isSecure = wantsTls(address);
  const port = Number(address.port || PORT);
  const client = createClient({
    username: decodeURIComponent(address.username),
    password: decodeURIComponent(address.password),
    database: Number(address.pathname.slice(1)) || 0,
    RESP: 3,
    disableOfflineQueue: true,
    maintNotifications: "disabled",
    // A timer for each command would cost more than the command; keep.ts watches the connection as a whole.
    commandOptions: { timeout: undefined },
    socket: {
      ...peerOf(address),
      port,
      ...(isSecure ? { tls: true, ...files } : {}),
      connectTimeout: CONNECT_MS,
      reconnectStrategy: false,
    },
  });
  const inChunks = (groups: readonly string[], command: (channels: string[]) => Promise<unknown>): Promise<unknown> => {
    const channels = groups.map((group) => channelOf(prefix, group));
    const starts = Array.from({ length: Math.ceil(channels.length / CHUNK) }, (_, n) => n * CHUNK);
    return withReasons(Promise.all(starts.map((at) => command(channels.slice(at, at + CHUNK)))));
  };
  const close = async (): Promise<void> => client.destroy();
  let isUp = false;
  let isHandshakeDone = false;
  client.on("connect", () => {
    isHandshakeDone = isSecure;
  });
  const failed = new Promise<never>((_, reject) => {
    client.on("error", (error: unknown) => (isUp ? onLost(explained(error) as Error) : reject(error)));
  });
  const greet = async (): Promise<{ mode: string }> => {
    await client.connect();
    return client.hello(3);
  };
  signal.addEventListener("abort", () => void close(), { once: true });
  const { mode } = await Promise.race([failed, greet()]).catch(async (error: unknown) => {
    const told = explained(error);
    throw told === error ? await redisTrouble(error, { address, port, files, isHandshakeDone, signal }) : told;
  });
  isUp = true;
  if (mode === "cluster") {
    await close();
    const text =
      "BUS_URL names a node of a Redis cluster, which is not supported: give a server of its own for the bus.";
    throw new TidingsError("configuration", text);
  }
  return {
    maxBytes: MAX_BYTES,
    subscribe: (groups) => inChunks(groups, (chunk) => client.sSubscribe(chunk, onMessage)),
    unsubscribe: (groups) => inChunks(groups, (chunk) => client.sUnsubscribe(chunk)),
    publish: (messages) =>
      withReasons(
        Promise.all(
          messages.map(({ group, text }) => client.sendCommand(["SPUBLISH", channelOf(prefix, group), text])),
        ),
      ),
    ping: () => client.ping(),
    close,
  };
}
