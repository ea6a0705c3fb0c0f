/**
 * A proxy in front of Postgres that loses announcements: it understands just enough of the protocol to leave out
 * NotificationResponse and what a WAL sender sends of changes, and passes all else. It can also stand still with everything open. For connections without TLS.
 */
import net from "node:net";

export interface LossyProxy {
  /** `url` with this proxy as its address. */
  through(url: string): string;
  /** How many were left out. */
  readonly lost: number;
  /** From now on every announcement is lost (true), or none (false). */
  lose(on: boolean): void;
  /** Half-open for good: what is open now stays open and silent, also after the other side closes it. New ones pass. */
  freeze(): void;
  /** True: nothing passes in either direction, nothing is closed. False: what stood still is cut, new ones pass. */
  stall(on: boolean): void;
  close(): Promise<void>;
}

/** A NOTIFY, or XLogData in CopyData; not the keep-alives of a WAL sender. */
const isAnnouncement = (message: Buffer): boolean =>
  message[0] === 0x41 || (message[0] === 0x64 && message[5] === 0x77);

/** Splits what the server sends into its messages: a letter, four bytes of length which counts itself, the rest. */
function messages(onMessage: (message: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 5) {
      const size = 1 + rest.readUInt32BE(1);
      if (rest.length < size) return;
      onMessage(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
  };
}

export async function lossyProxy(target: string): Promise<LossyProxy> {
  const { hostname, port } = new URL(target);
  type Pair = readonly [client: net.Socket, upstream: net.Socket];
  const open = new Set<Pair>();
  const frozen = new Set<Pair>();
  let [isLosing, isStalled, lost] = [false, false, 0];

  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    const pair: Pair = [client, upstream];
    const silent = (): boolean => isStalled || frozen.has(pair);
    open.add(pair);
    for (const one of pair) {
      one.on("error", () => {});
      one.on("close", () => {
        // a closed side is news too: while stalled nobody hears of it
        if (silent()) return;
        open.delete(pair);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => void (!silent() && upstream.write(chunk)));
    const read = messages((message) => {
      if (isLosing && isAnnouncement(message)) lost++;
      else client.write(message);
    });
    upstream.on("data", (chunk: Buffer) => void (!silent() && read(chunk)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = (server.address() as net.AddressInfo).port;
  const cut = (): void => {
    for (const [client, upstream] of open) {
      client.destroy();
      upstream.destroy();
    }
    open.clear();
    frozen.clear();
  };

  return {
    through: (url) => Object.assign(new URL(url), { hostname: "127.0.0.1", port: String(own) }).href,
    get lost() {
      return lost;
    },
    lose(on) {
      isLosing = on;
    },
    freeze() {
      for (const pair of open) frozen.add(pair);
    },
    stall(on) {
      isStalled = on;
      if (!on) cut();
    },
    close() {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
