/** The clients: opens sockets and SSE streams in numbers, and notes when each row's frame arrives. */
import { type ClientRequest, get } from "node:http";
import { WebSocket } from "ws";
import { clock } from "./numbers.ts";
import { numberIn, userOf } from "./row.ts";
import { serve } from "./rpc.ts";

export interface Target {
  readonly url: string;
  readonly user: number;
  readonly authorization?: string;
}

/** What has arrived of the rows from..from+count-1, each expected `copies` times. */
export interface Arrivals {
  /** Of the last copy, by row; NaN where it never came. */
  readonly at: Float64Array;
  readonly lost: number;
  readonly doubled: number;
  /** At sockets of other users. */
  readonly astray: number;
}

/** Handshakes at a time: below what a kernel lets wait to be accepted. */
const IN_FLIGHT = 500;
const groups = new Map<string, (WebSocket | ClientRequest)[]>();
let expected: { from: number; copies: number; users: number; seen: Uint32Array; at: Float64Array } | undefined;
let missing = 0;
let doubled = 0;
let astray = 0;
let done: (() => void) | undefined;

function heard(frame: Buffer, user: number): void {
  const n = numberIn(frame);
  if (n < 0 || !expected) return;
  const at = n - expected.from;
  if (at < 0 || at >= expected.seen.length) return;
  if (expected.users > 0 && userOf(n, expected.users) !== user) astray++;
  const seen = ++expected.seen[at]!;
  if (seen > expected.copies) doubled++;
  else if (seen === expected.copies) expected.at[at] = clock();
  if (seen <= expected.copies && --missing === 0) done?.();
}

/** Counted as open when the first frame is there, or with `bare` when the handshake is answered. */
function openSocket(target: Target, bare: boolean, replay: number): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const headers = target.authorization ? { authorization: target.authorization } : {};
    const socket = new WebSocket(target.url, { headers, perMessageDeflate: false, skipUTF8Validation: true });
    let left = replay;
    let first = !bare;
    socket.on("message", (data: Buffer) => {
      if (first) {
        first = false;
        if (left === 0) resolve(socket);
      } else if (left > 0) {
        if (numberIn(data) >= 0 && --left === 0) resolve(socket);
      } else heard(data, target.user);
    });
    socket.once("error", reject);
    socket.once("close", (code) => reject(new Error(`closed with ${code}`)));
    if (bare && replay === 0) socket.once("open", () => resolve(socket));
  });
}

function openSse(target: Target): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const headers = target.authorization ? { authorization: target.authorization } : {};
    const request = get(target.url, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
      response.once("data", () => resolve(request));
      response.resume();
    });
    request.on("error", reject);
  });
}

const handlers = {
  /** Opens streams and resolves when all are open. `replay`: and that many rows have come on each. */
  async open(args: {
    group: string;
    targets: Target[];
    kind: "bare" | "ws" | "sse";
    replay?: number;
  }): Promise<number> {
    const { targets, kind, replay = 0 } = args;
    const began = clock();
    const open: (WebSocket | ClientRequest)[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < targets.length) {
        const target = targets[next++]!;
        open.push(kind === "sse" ? await openSse(target) : await openSocket(target, kind === "bare", replay));
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
    groups.set(args.group, open);
    return clock() - began;
  },
  async close({ group }: { group: string }): Promise<void> {
    for (const one of groups.get(group) ?? []) one instanceof WebSocket ? one.terminate() : one.destroy();
    groups.delete(group);
  },
  /** Forgets what was, and waits for these rows. `users` 0: whose they are is not checked. */
  expect({ from, most, copies = 1, users }: { from: number; most: number; copies?: number; users: number }): void {
    expected = { from, copies, users, seen: new Uint32Array(most), at: new Float64Array(most).fill(Number.NaN) };
    missing = Number.POSITIVE_INFINITY;
    doubled = 0;
    astray = 0;
  },
  /** Resolves when `count` rows are there, or after `timeoutMs`. */
  async arrivals({ count, timeoutMs }: { count: number; timeoutMs: number }): Promise<Arrivals> {
    const { seen, at, copies } = expected!;
    const lacking = (): number => seen.subarray(0, count).reduce((sum, one) => sum + Math.max(0, copies - one), 0);
    missing = lacking();
    if (missing > 0) {
      await new Promise<void>((resolve) => {
        done = resolve;
        setTimeout(resolve, timeoutMs);
      });
    }
    return { at: at.slice(0, count), lost: lacking(), doubled, astray };
  },
};

export type LoadHandlers = typeof handlers;
serve(handlers);
