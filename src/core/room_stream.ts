/**
 * One open stream on a room: transient frames only, no cursor, nothing replayed. What it missed, its client reads
 * over REST. Frames before `ready` are not sent; to a reader that does not keep up they are dropped.
 */
import type { CloseName } from "../protocol/close.ts";
import type { ReadyData } from "../protocol/frames.ts";
import type { OutFrame, Transport } from "./transport.ts";

export class RoomStream {
  readonly userId: string;
  readonly roomId: number;
  readonly transport: Transport;
  /** `iat` of the token it lives on, epoch seconds. */
  issuedAt: number;
  readonly #types: ReadonlySet<string> | null;
  #ready = false;

  /** @param types frame types that pass; null: all */
  constructor(
    userId: string,
    issuedAt: number,
    roomId: number,
    types: ReadonlySet<string> | null,
    transport: Transport,
  ) {
    this.userId = userId;
    this.issuedAt = issuedAt;
    this.roomId = roomId;
    this.#types = types;
    this.transport = transport;
  }

  /** Writes the first frame; from now on frames pass. */
  ready(data: ReadyData): void {
    this.#ready = true;
    this.transport.begin(null);
    this.transport.write([{ type: "ready", json: JSON.stringify({ type: "ready", data }) }]);
  }

  transient(frame: OutFrame): void {
    if (!this.#ready || this.transport.congested) return;
    if (!this.#types || this.#types.has(frame.type)) this.transport.write([frame]);
  }

  end(cause: CloseName, reason?: string): void {
    this.transport.close(cause, reason);
  }
}
