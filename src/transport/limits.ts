/**
 * How much a client may send over one socket (CONTRACT section 4), as arithmetic: no timers, the clock is an argument.
 * A token bucket of 20 refilled at 5 a second over all frames, pings too, and a count of bad frames in the last minute.
 * One instance is made with a socket's first message, so that an idle socket carries none.
 */

const BURST = 20;
const REFILL_PER_SECOND = 5;
/** An overrun is over, and the next one is worth an error again, when the bucket is half full. */
const RECOVERED = BURST / 2;
const DROPPED_IN_A_ROW = 20;
const BAD_FRAMES = 5;
const BAD_WINDOW_MS = 60_000;

/** `pass`: handle it · `warn`: drop it and say so once · `drop`: drop it silently · `close`: the client does not listen, 4429. */
export type Verdict = "pass" | "warn" | "drop" | "close";

export class FrameLimits {
  #tokens: number = BURST;
  #at: number;
  #dropped = 0;
  #warned = false;
  #bad: number[] = [];

  /** @param now milliseconds of any clock that does not go back */
  constructor(now: number) {
    this.#at = now;
  }

  /** One frame arrived. @param busy what came before is not handled yet and no more can be held: counts as over the limit */
  take(now: number, busy = false): Verdict {
    this.#tokens = Math.min(BURST, this.#tokens + (Math.max(0, now - this.#at) / 1000) * REFILL_PER_SECOND);
    this.#at = now;
    if (this.#tokens >= RECOVERED && !busy) this.#warned = false;
    if (this.#tokens < 1 || busy) return this.#over();
    this.#tokens -= 1;
    this.#dropped = 0;
    return "pass";
  }

  /** One bad frame arrived. @returns true for the fifth within a minute: close with 4400 */
  bad(now: number): boolean {
    this.#bad.push(now);
    if (this.#bad.length < BAD_FRAMES) return false;
    return now - this.#bad.shift()! < BAD_WINDOW_MS;
  }

  #over(): Verdict {
    this.#dropped += 1;
    if (this.#dropped >= DROPPED_IN_A_ROW) return "close";
    if (this.#warned) return "drop";
    this.#warned = true;
    return "warn";
  }
}
