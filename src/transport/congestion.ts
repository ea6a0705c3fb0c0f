/**
 * A reader that does not keep up: waits for it, and notices when it has stopped reading at all.
 * One instance is made when a stream first runs over its high-water mark, so that a stream that never does carries none.
 * Stuck means: over the mark for `stuckMs` and less than one mark's worth of bytes taken meanwhile. A slow reader that
 * gets on is left alone, it costs no more than the page it is being sent.
 */
import type { Beat, Wheel } from "./wheel.ts";

/** The part of a Peer or a Sink that matters here. */
export interface Outlet {
  readonly buffered: number;
  drained(): Promise<void>;
}

export class Congestion implements Beat {
  slot = 0;
  readonly #outlet: Outlet;
  readonly #highWater: number;
  readonly #stuckMs: number;
  readonly #wheel: Wheel;
  readonly #onStuck: () => void;
  #buffered = 0;
  #released = false;
  #waiting: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(outlet: Outlet, highWater: number, stuckMs: number, wheel: Wheel, onStuck: () => void) {
    this.#outlet = outlet;
    this.#highWater = highWater;
    this.#stuckMs = stuckMs;
    this.#wheel = wheel;
    this.#onStuck = onStuck;
  }

  /** To be called when the outlet is over the mark; starts the watch where none runs. */
  watch(): void {
    if (this.slot !== 0 || this.#released) return;
    this.#buffered = this.#outlet.buffered;
    this.#wheel.schedule(this, this.#stuckMs);
  }

  /** To be called when the outlet is seen below the mark: the reader is well again. */
  clear(): void {
    this.#wheel.cancel(this);
    this.#wake?.();
    this.#waiting = undefined;
    this.#wake = undefined;
  }

  /** Resolves when the outlet is below the mark or released. Any number of callers share one wait. */
  drained(): Promise<void> {
    if (this.#released || this.#outlet.buffered <= this.#highWater) return Promise.resolve();
    this.#waiting ??= new Promise((resolve) => {
      this.#wake = resolve;
      void this.#wait();
    });
    return this.#waiting;
  }

  /** The stream is closed: everybody who waits is let go. */
  release(): void {
    this.#released = true;
    this.clear();
  }

  beat(): number {
    const { buffered } = this.#outlet;
    if (buffered <= this.#highWater) return 0;
    if (this.#buffered - buffered < this.#highWater) {
      this.#onStuck();
      return 0;
    }
    this.#buffered = buffered;
    return this.#stuckMs;
  }

  async #wait(): Promise<void> {
    while (!this.#released && this.#outlet.buffered > this.#highWater) await this.#outlet.drained();
    this.clear();
  }
}
