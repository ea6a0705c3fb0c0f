/**
 * What a runtime gives a transport to write to: the seam between transport/ and runtime/.
 * A runtime file implements these over its own sockets; nothing above it knows which runtime it is.
 */

/** One accepted WebSocket. No method throws; all do nothing once closed. */
export interface Peer {
  /** Queues one text message. Messages sent within one tick leave in one system call. */
  send(text: string): void;
  /** Bytes queued in this process and not yet taken by the kernel. */
  readonly buffered: number;
  /** Resolves when what is queued now was taken by the kernel, or the peer is gone. Never rejects. */
  drained(): Promise<void>;
  /** Starts the closing handshake; a client that never answers, or never reads what is queued before it, is cut after 3 s. */
  close(code: number, reason: string): void;
  /** Cuts the connection without a handshake (where the runtime can). */
  kill(): void;
  /** Sends a protocol ping. Absent where the runtime keeps its own heartbeat and shows none of it (Deno). */
  ping?(): void;
}

/**
 * What happens on an accepted socket. Every callback is guarded by the runtime: a throw or a rejection closes with
 * 1011 and is logged.
 */
export interface PeerEvents {
  open(peer: Peer): void;
  /** A text message, or `null` for a binary one. */
  message(text: string | null): void;
  /** A protocol pong arrived. */
  pong?(): void;
  /**
   * Called exactly once, whoever closed; with 1006, and without `open` before it, where the client was gone before its
   * handshake was answered. So what was reserved for a socket can be given back here.
   */
  closed(code: number): void;
}

/** One open SSE response body. No method throws; all do nothing once ended. */
export interface Sink {
  /** Queues text. Writes within one tick leave in one system call. */
  write(text: string): void;
  /** Bytes queued in this process and not yet taken by the kernel. */
  readonly buffered: number;
  /** Resolves when what is queued now was taken by the kernel, or the client is gone. Never rejects. */
  drained(): Promise<void>;
  /** Ends the response after what is queued; a client that does not read that is cut after 3 s. */
  end(): void;
  /** Cuts the connection. */
  kill(): void;
}

/** Where transports and runtimes report what went wrong; pino is one. Fields never hold a token. */
export interface Log {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
