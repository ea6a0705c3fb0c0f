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

/** How a stream is spoken. Counted as open when the first frame is there; the bare ones when the handshake is answered. */
export type StreamKind = "bare" | "ws" | "sse" | "baresse" | "socketio";

/** Engine.IO 4 as its client speaks it: open packet, then joining the namespace with a user id; pings are answered. */
function speakSocketIo(socket: WebSocket, data: Buffer, user: number): "joined" | "event" | "other" {
  const [engine, packet] = [data[0], data[1]];
  if (engine === 0x30) socket.send(`40{"user":${user}}`);
  else if (engine === 0x32) socket.send("3");
  else if (engine === 0x34) return packet === 0x30 ? "joined" : "event";
  return "other";
}

function openSocket(target: Target, kind: StreamKind, replay: number): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const headers = target.authorization ? { authorization: target.authorization } : {};
    const socket = new WebSocket(target.url, { headers, perMessageDeflate: false, skipUTF8Validation: true });
    let left = replay;
    let first = kind !== "bare";
    socket.on("message", (data: Buffer) => {
      if (kind === "socketio") {
        const said = speakSocketIo(socket, data, target.user);
        if (said === "event") heard(data, target.user);
        else if (said === "joined") resolve(socket);
      } else if (first) {
        first = false;
        if (left === 0) resolve(socket);
      } else if (left > 0) {
        if (numberIn(data) >= 0 && --left === 0) resolve(socket);
      } else heard(data, target.user);
    });
    socket.on("error", reject);
    socket.once("close", (code) => reject(new Error(`closed with ${code}`)));
    if (kind === "bare" && replay === 0) socket.once("open", () => resolve(socket));
  });
}

function openSse(target: Target, bare: boolean): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const headers = {
      accept: "text/event-stream",
      ...(target.authorization && { authorization: target.authorization }),
    };
    const request = get(target.url, { headers, agent: false }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
      if (bare) resolve(request);
      else response.once("data", () => resolve(request));
      response.on("error", reject).resume();
    });
    request.on("error", reject);
  });
}

/** Until all is there, or for a time nothing has come. */
async function stillness(quietMs: number): Promise<void> {
  let watch: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    done = resolve;
    let before = -1;
    watch = setInterval(() => {
      if (missing === before) resolve();
      before = missing;
    }, quietMs);
  });
  clearInterval(watch);
}

const handlers = {
  /** Opens streams and resolves when all are open. `replay`: and that many rows have come on each. */
  async open(args: { group: string; targets: Target[]; kind: StreamKind; replay?: number }): Promise<number> {
    const { targets, kind, replay = 0 } = args;
    const began = clock();
    const open: (WebSocket | ClientRequest)[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < targets.length) {
        const target = targets[next++]!;
        const sse = kind === "sse" || kind === "baresse";
        open.push(sse ? await openSse(target, kind === "baresse") : await openSocket(target, kind, replay));
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
  /** One after the other: milliseconds from the handshake to the last of the replayed rows, each. */
  async visit({ targets, replay }: { targets: Target[]; replay: number }): Promise<number[]> {
    const times: number[] = [];
    for (const target of targets) {
      const began = clock();
      const socket = await openSocket(target, "ws", replay);
      times.push(clock() - began);
      socket.terminate();
    }
    return times;
  },
  /** One request after the other over a kept connection: milliseconds each. */
  async get({ targets }: { targets: Target[] }): Promise<number[]> {
    const times: number[] = [];
    for (const { url, authorization } of targets) {
      const began = clock();
      const answer = await fetch(url, { headers: authorization ? { authorization } : {} });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
      times.push(clock() - began);
    }
    return times;
  },
  /** Forgets what was, and waits for these rows. `users` 0: whose they are is not checked. */
  expect({ from, most, copies = 1, users }: { from: number; most: number; copies?: number; users: number }): void {
    expected = { from, copies, users, seen: new Uint32Array(most), at: new Float64Array(most).fill(Number.NaN) };
    missing = Number.POSITIVE_INFINITY;
    doubled = 0;
    astray = 0;
  },
  /** Resolves when `count` rows are there, or when nothing at all came for `quietMs` (default 10 s). */
  async arrivals({ count, quietMs = 10_000 }: { count: number; quietMs?: number }): Promise<Arrivals> {
    const { seen, at, copies } = expected!;
    const lacking = (): number => seen.subarray(0, count).reduce((sum, one) => sum + Math.max(0, copies - one), 0);
    missing = lacking();
    if (missing > 0) await stillness(quietMs);
    return { at: at.slice(0, count), lost: lacking(), doubled, astray };
  },
};

export type LoadHandlers = typeof handlers;
serve(handlers);
