/** Enforces `exp` on an open stream by a timer (CONTRACT section 6). */
import { CLOCK_SKEW_SECONDS, type Identity } from "../auth/token.ts";

/** The longest delay a timer takes; longer ones are set again. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export interface Expiry {
  renew(identity: Identity): void;
  stop(): void;
}

/** Calls `expired` once, at `exp`; a token let in past it, within the clock skew, gets the rest of the skew. */
export function watchExpiry(identity: Identity, expired: () => void): Expiry {
  let timer: ReturnType<typeof setTimeout>;
  const set = (expiresAt: number): void => {
    clearTimeout(timer);
    const left = expiresAt * 1_000 - Date.now();
    timer = left > MAX_DELAY_MS ? setTimeout(set, MAX_DELAY_MS, expiresAt) : setTimeout(expired, Math.max(0, left));
  };
  const begin = ({ expiresAt }: Identity): void =>
    set(expiresAt * 1_000 > Date.now() ? expiresAt : expiresAt + CLOCK_SKEW_SECONDS);
  begin(identity);
  return {
    renew: begin,
    stop: () => clearTimeout(timer),
  };
}
