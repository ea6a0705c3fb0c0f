/**
 * A crowd of clients in a process of its own: resumes all streams at once, and reports when each had its last entry and
 * whether any entry was left out, came twice or out of order. Told by its parent (CrowdOrder), answers with a CrowdReport.
 * Plain sockets with a handshake written by hand: a client library of 5,000 costs more than the server they are to measure.
 */
import net from "node:net";
import process from "node:process";
import { token } from "../helpers/instance.ts";

export interface CrowdOrder {
  readonly url: string;
  /** The users first … first + count - 1, one stream each. */
  readonly first: number;
  readonly count: number;
  /** How many entries each has missed: 1 … missed. */
  readonly missed: number;
  /** Every nth is an SSE stream; 0: none. */
  readonly sseEvery: number;
  /** Where a user's socket is opened. Default: Tidings' own path. */
  readonly socketPath?: string;
}

export interface CrowdReport {
  /** Milliseconds from the first connect until all had their last entry. */
  readonly took: number;
  /** The same of each, ascending. */
  readonly times: readonly number[];
  /** Streams that got anything but 1, 2 … in order, once. */
  readonly wrong: number;
  readonly failed: number;
  /** CPU milliseconds of this process meanwhile. */
  readonly cpu: number;
}

/** Stands whole in a frame of either transport: neither compresses, and a server masks nothing. */
const ENTRY = /"type":"notification","id":(\d+)/g;
const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/** Counts the entries of one stream as its bytes come. */
class Count {
  last = 0;
  wrong = false;
  #rest = "";

  take(chunk: string): void {
    const text = this.#rest + chunk;
    let end = 0;
    for (const found of text.matchAll(ENTRY)) {
      // more of the number may follow
      if (found.index + found[0].length === text.length) break;
      if (Number(found[1]) === this.last + 1) this.last++;
      else this.wrong = true;
      end = found.index + found[0].length;
    }
    this.#rest = text.slice(Math.max(end, text.length - 60));
  }
}

/** Resolves when the stream has all its entries, or is gone without. */
function follow(socket: net.Socket, request: string, missed: number): Promise<Count> {
  const count = new Count();
  return new Promise((resolve) => {
    socket.setEncoding("latin1").on("data", (chunk: unknown) => {
      count.take(String(chunk));
      if (count.last >= missed || count.wrong) resolve(count);
    });
    socket.on("error", () => {}).on("close", () => resolve(count));
    socket.on("connect", () => socket.write(request));
  });
}

async function run(order: CrowdOrder): Promise<CrowdReport> {
  const { url, first, count, missed, sseEvery, socketPath = "/ws/notifications/" } = order;
  const { hostname, port } = new URL(url);
  const requests = await Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const bySse = at % sseEvery === 0;
      const path = bySse ? "/sse/notifications/" : socketPath;
      const lines = [
        `GET ${path} HTTP/1.1`,
        `Host: ${hostname}:${port}`,
        `Authorization: Bearer ${await token(first + at)}`,
      ];
      return [...lines, "Last-Event-ID: 0", ...(bySse ? [] : UPGRADE), "", ""].join("\r\n");
    }),
  );
  const times: number[] = [];
  let [wrong, failed] = [0, 0];
  const spent = process.cpuUsage();
  const began = performance.now();
  const one = async (request: string): Promise<void> => {
    const came = await follow(net.connect(Number(port), hostname), request, missed);
    times.push(performance.now() - began);
    if (came.wrong) wrong++;
    else if (came.last < missed) failed++;
  };
  await Promise.all(requests.map(one));
  const took = performance.now() - began;
  const { user, system } = process.cpuUsage(spent);
  return { took, times: times.sort((a, b) => a - b), wrong, failed, cpu: (user + system) / 1_000 };
}

process.on("message", async (order: CrowdOrder) => process.send!(await run(order)));
process.on("disconnect", () => process.exit(0));
