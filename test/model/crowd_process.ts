/**
 * A crowd of clients in a process of its own: resumes all streams at once, and reports when each had its last entry and
 * whether any entry was left out, came twice or out of order. Told by its parent (CrowdOrder), answers with a CrowdReport.
 */
import { get } from "node:http";
import process from "node:process";
import { WebSocket } from "ws";
import { token } from "../helpers/instance.ts";

export interface CrowdOrder {
  readonly url: string;
  /** The users first … first + count - 1, one stream each. */
  readonly first: number;
  readonly count: number;
  /** How many entries each has missed: 1 … missed. */
  readonly missed: number;
  /** Every nth is an SSE stream. */
  readonly sseEvery: number;
}

export interface CrowdReport {
  /** Milliseconds from the first connect until all had their last entry. */
  readonly took: number;
  /** The same of each, ascending. */
  readonly times: readonly number[];
  /** Streams that got anything but 1, 2 … in order, once. */
  readonly wrong: number;
  readonly failed: number;
}

const ENTRY = /"type":"notification","id":(\d+)/g;

interface Counter {
  /** False: that was not the next one. */
  take(text: string): boolean;
  readonly last: number;
}

function counter(): Counter {
  let last = 0;
  return {
    take(text) {
      for (const [, id] of text.matchAll(ENTRY)) {
        if (Number(id) !== last + 1) return false;
        last++;
      }
      return true;
    },
    get last() {
      return last;
    },
  };
}

async function run({ url, first, count, missed, sseEvery }: CrowdOrder): Promise<CrowdReport> {
  const tokens = await Promise.all(Array.from({ length: count }, (_, at) => token(first + at)));
  const times: number[] = [];
  let [wrong, failed] = [0, 0];
  const began = performance.now();
  const one = (bearer: string, at: number): Promise<void> =>
    new Promise((resolve) => {
      const headers = { authorization: `Bearer ${bearer}`, "last-event-id": "0" };
      const ids = counter();
      const take = (text: string): void => {
        if (!ids.take(text)) wrong++;
        else if (ids.last < missed) return;
        times.push(performance.now() - began);
        resolve();
      };
      const lost = (): void => {
        if (ids.last < missed) failed++;
        resolve();
      };
      if (at % sseEvery === 0) {
        get(`${url}/sse/notifications/`, { headers, agent: false }, (response) => {
          response.setEncoding("utf8").on("data", take).on("close", lost);
        }).on("error", lost);
      } else {
        const socket = new WebSocket(`${url.replace("http", "ws")}/ws/notifications/`, {
          headers,
          perMessageDeflate: false,
        });
        socket.on("message", (data) => take(String(data))).on("error", lost);
        socket.on("close", lost);
      }
    });
  await Promise.all(tokens.map(one));
  return { took: performance.now() - began, times: times.sort((a, b) => a - b), wrong, failed };
}

process.on("message", async (order: CrowdOrder) => process.send!(await run(order)));
process.on("disconnect", () => process.exit(0));
