/**
 * What Node's sockets need under both a WebSocket and an SSE response: one system call for all that is written in a
 * tick, a head that leaves with what comes first, and to know when what is queued has left.
 */
import type { Socket } from "node:net";
import process from "node:process";

export const IS_BUN: boolean = "bun" in process.versions;
/** Bun calls back at once, whatever is queued before: who waits in a loop would keep it from ever leaving. */
const POLL_MS = 20;

/** How long a head waits for the first frames, in ms; longer than reads take in a storm of streams. */
const HEAD_MS = 1_000;

let corked: Socket[] = [];
const held = new Map<Socket, NodeJS.Timeout>();

/**
 * Holds the head of an answer, to be written next, until the first frames are there: a second system call for each
 * stream, and a second time that its client wakes, are a tenth of what a storm of them costs.
 */
export function holdHead(socket: Socket): void {
  socket.cork();
  held.set(
    socket,
    setTimeout(() => {
      if (held.delete(socket)) socket.uncork();
    }, HEAD_MS),
  );
}

/**
 * Holds a socket's writes until the end of this tick. Ten small writes cost five times one, and a stream writes
 * several frames in a row; all sockets share one tick callback.
 */
export function corkThisTick(socket: Socket): void {
  const waiting = held.size > 0 ? held.get(socket) : undefined;
  if (waiting) {
    clearTimeout(waiting);
    held.delete(socket);
  } else if (socket.writableCorked > 0) return;
  else socket.cork();
  if (corked.push(socket) === 1) process.nextTick(uncorkAll);
}

function uncorkAll(): void {
  const sockets = corked;
  corked = [];
  for (const socket of sockets) socket.uncork();
}

/**
 * Resolves when all that is queued now was taken by the kernel, or the socket is closed. Not by the event `drain`: it
 * only comes after more than 16 KiB were queued. The callback of a write of nothing comes in order. On a socket that
 * ends it never resolves at once: who waits in a loop would keep the event that tells of the end from ever coming.
 */
export function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) setImmediate(resolve);
    else if (socket.destroyed || !socket.writable) socket.once("close", () => resolve());
    else if (IS_BUN) setTimeout(resolve, POLL_MS);
    else socket.write("", () => resolve());
  });
}

/** Bytes queued for a socket, as `queued` has them; none once it is destroyed, for nobody will ever read them. */
export function queuedFor(socket: Socket | null, queued: number): number {
  return socket === null || socket.destroyed ? 0 : queued;
}
