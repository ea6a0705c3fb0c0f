/**
 * A TCP proxy between a client and a real server that can fail the way networks do: stall (both sides stay open, nothing
 * arrives), cut, refuse. Listens on 127.0.0.1, any port.
 */
import net from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** `url` with this proxy as its address. */
  through(url: string): string;
  /** Connections that are open now. */
  readonly open: number;
  /** All connections ever accepted. */
  readonly accepted: number;
  /** The most that were open at once. */
  readonly peak: number;
  /** Half-open: nothing is forwarded any more in either direction, nothing is closed. New connections stall as well. */
  stall(): void;
  /** Forwards again, beginning with what was held back. */
  resume(): void;
  /** Resets all connections; new ones are accepted. */
  cut(): void;
  /** From now on new connections are closed at once (true), or accepted again (false). */
  refuse(on: boolean): void;
  close(): Promise<void>;
}

interface Pair {
  client: net.Socket;
  server: net.Socket;
}

/** Starts a proxy to `host`:`port`. */
export async function proxyTo(port: number, host = "127.0.0.1"): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let [isStalled, isRefusing, accepted, peak] = [false, false, 0, 0];

  const forget = (pair: Pair): void => {
    pairs.delete(pair);
    pair.client.destroy();
    pair.server.destroy();
  };
  const forward = (pair: Pair, from: net.Socket, to: net.Socket): void => {
    from.on("data", (chunk) => {
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => {
      if (!isStalled) from.resume();
    });
    // A closed side is news too: while stalled nobody hears of it.
    from.on("end", () => !isStalled && to.end());
    from.on("error", () => {});
    from.on("close", () => !isStalled && forget(pair));
    if (isStalled) from.pause();
  };
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    if (isRefusing) return void client.resetAndDestroy();
    const pair: Pair = { client, server: net.connect({ port, host, allowHalfOpen: true }) };
    pairs.add(pair);
    accepted++;
    peak = Math.max(peak, pairs.size);
    forward(pair, client, pair.server);
    forward(pair, pair.server, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = (server.address() as net.AddressInfo).port;

  return {
    port: own,
    through(url) {
      const changed = new URL(url);
      changed.hostname = "127.0.0.1";
      changed.port = String(own);
      return changed.href;
    },
    get open() {
      return pairs.size;
    },
    get accepted() {
      return accepted;
    },
    get peak() {
      return peak;
    },
    stall() {
      isStalled = true;
      for (const { client, server } of pairs) for (const side of [client, server]) side.pause();
    },
    resume() {
      isStalled = false;
      for (const pair of pairs) {
        if (pair.client.destroyed || pair.server.destroyed) forget(pair);
        else for (const side of [pair.client, pair.server]) side.resume();
      }
    },
    cut() {
      for (const pair of [...pairs]) {
        pair.client.resetAndDestroy();
        forget(pair);
      }
    },
    refuse(on) {
      isRefusing = on;
    },
    close() {
      for (const pair of [...pairs]) forget(pair);
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** A proxy to the server that `url` names. */
export function proxyFor(url: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  return proxyTo(Number(port || 5432), hostname);
}
