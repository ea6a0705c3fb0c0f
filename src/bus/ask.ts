/** Asks an engine on a connection of its own, once connecting has failed in a way that leaves the reason open. */
import type { Socket } from "node:net";

/** With the attempt before it, mostly below what a dial may take. */
export const ASK_MS = 1_000;

/**
 * What the socket comes to first: what it emits as `event` (true where that is nothing), or its error; undefined when
 * it is closed, nothing happens, or the signal is aborted. The socket is destroyed then.
 */
export function outcome(socket: Socket, event: string, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    const end = (seen?: unknown): void => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      resolve(seen);
    };
    const abort = (): void => end();
    signal.addEventListener("abort", abort);
    socket.setTimeout(ASK_MS, abort).on("error", end).on("close", abort);
    socket.once(event, (seen: unknown) => end(seen ?? true));
    if (signal.aborted) end();
  });
}
