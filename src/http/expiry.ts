/** Enforces `exp` on an open stream by a timer (CONTRACT section 6). */
import { CLOCK_SKEW_SECONDS, type Identity } from "../auth/token.ts";

/** The longest delay a timer takes; longer ones are set again. */
const MAX_DELAY_MS = 2 ** 31 - 1;
/** Timers of one delay share a list, and each further delay brings one of its own: so delays go in steps, rounded up. */
const STEP_MS = 100;

export interface Expiry {
  renew(identity: Identity): void;
  stop(): void;
}

/** Calls `expired` once, at `exp`; a token let in past it, within the clock skew, gets the rest of the skew. */
export function watchExpiry(identity: Identity, expired: () => void): Expiry {
  return new Watch(identity, expired);
}

/** A class, not closures: there is one for each idle stream. */
class Watch implements Expiry {
  readonly #expired: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  constructor(identity: Identity, expired: () => void) {
    this.#expired = expired;
    this.renew(identity);
  }

  renew({ expiresAt }: Identity): void {
    // a token may be renewed while its stream closes
    if (this.#isStopped) return;
    this.#set(expiresAt * 1_000 > Date.now() ? expiresAt : expiresAt + CLOCK_SKEW_SECONDS);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #set(expiresAt: number): void {
    clearTimeout(this.#timer);
    const left = Math.ceil(Math.max(0, expiresAt * 1_000 - Date.now()) / STEP_MS) * STEP_MS;
    this.#timer =
      left > MAX_DELAY_MS ? setTimeout(() => this.#set(expiresAt), MAX_DELAY_MS) : setTimeout(this.#expired, left);
  }
}
