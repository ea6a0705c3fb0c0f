/**
 * A Node response as an SSE Sink, written to directly: half the memory of a ReadableStream and a third of its time.
 */
import type { ServerResponse } from "node:http";
import type { Log, Sink } from "../transport/peer.ts";
import { corkThisTick, flushed, queuedFor } from "./node_socket.ts";

/** How long an ended response may wait for its client to read the rest, in ms. */
const END_MS = 3000;

/**
 * Opens the sink on a response whose head was sent; its socket is there (node.ts refuses pipelined streams).
 * @param onClosed called once when the response has ended or its client is gone
 */
export function openSink(outgoing: ServerResponse, open: (sink: Sink) => void, onClosed: () => void, log: Log): void {
  const sink = new NodeSink(outgoing, log);
  outgoing.on("close", () => sink.run(onClosed));
  outgoing.on("error", ignore);
  sink.run(() => open(sink));
}

/** A write that raced with the client's leaving; `close` follows. Unlistened, it would end the process. */
function ignore(): void {}

class NodeSink implements Sink {
  readonly #outgoing: ServerResponse;
  readonly #log: Log;

  constructor(outgoing: ServerResponse, log: Log) {
    this.#outgoing = outgoing;
    this.#log = log;
  }

  /** The one guard around every callback. */
  run(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#log.error({ err: error }, "a stream callback failed, its response is cut");
      this.kill();
    }
  }

  get buffered(): number {
    return queuedFor(this.#outgoing.socket, this.#outgoing.writableLength);
  }

  write(text: string): void {
    const { socket } = this.#outgoing;
    if (!socket || this.#outgoing.destroyed || this.#outgoing.writableEnded) return;
    corkThisTick(socket);
    this.#outgoing.write(text);
  }

  drained(): Promise<void> {
    const { socket } = this.#outgoing;
    return socket ? flushed(socket) : Promise.resolve();
  }

  end(): void {
    if (this.#outgoing.destroyed || this.#outgoing.writableEnded) return;
    const cut = setTimeout(() => this.kill(), END_MS);
    this.#outgoing.once("close", () => clearTimeout(cut));
    this.#outgoing.end();
  }

  kill(): void {
    this.#outgoing.destroy();
  }
}
