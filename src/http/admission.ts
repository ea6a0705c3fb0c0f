/**
 * How many streams may be open: on this instance, of one user, and new ones per second from one address.
 * A place is reserved before the handshake is answered, so that a burst of handshakes cannot pass all together.
 */
import type { CloseName } from "../protocol/close.ts";

export interface AdmissionOptions {
  readonly maxStreams: number;
  readonly maxStreamsPerUser: number;
  /** New streams per second and address; 0: no limit. */
  readonly handshakesPerIp: number;
  /** Monotonic milliseconds. Default performance.now. */
  readonly now?: () => number;
}

export interface Admission {
  /** True where this address opens streams too fast. Counts this one. Asked for only where there is a limit: it costs a system call. */
  tooFast(address: () => string): boolean;
  /** Reserves a place: gives it back by the returned function (any number of calls), or says why there is none. */
  reserve(userId: string): (() => void) | CloseName;
  /** From now on every reservation is refused with `restart`. */
  drain(): void;
  readonly draining: boolean;
  readonly open: number;
}

/** Buckets of idle addresses are forgotten when there are more than this. */
const ADDRESSES = 10_000;

export function createAdmission(options: AdmissionOptions): Admission {
  const { maxStreams, maxStreamsPerUser, handshakesPerIp, now = () => performance.now() } = options;
  const perUser = new Map<string, number>();
  const buckets = new Map<string, { tokens: number; at: number }>();
  let open = 0;
  let draining = false;

  function release(userId: string): void {
    open--;
    const left = perUser.get(userId)! - 1;
    if (left > 0) perUser.set(userId, left);
    else perUser.delete(userId);
  }

  return {
    tooFast(addressOf) {
      if (handshakesPerIp === 0) return false;
      const address = addressOf();
      if (isLoopback(address)) return false;
      const at = now();
      const bucket = buckets.get(address) ?? { tokens: handshakesPerIp, at };
      bucket.tokens = Math.min(handshakesPerIp, bucket.tokens + ((at - bucket.at) / 1_000) * handshakesPerIp);
      bucket.at = at;
      buckets.delete(address);
      buckets.set(address, bucket);
      // the map keeps insertion order: the first is the one not heard of for longest
      if (buckets.size > ADDRESSES) buckets.delete(buckets.keys().next().value!);
      if (bucket.tokens < 1) return true;
      bucket.tokens--;
      return false;
    },
    reserve(userId) {
      if (draining) return "restart";
      if (open >= maxStreams) return "overloaded";
      const mine = perUser.get(userId) ?? 0;
      if (mine >= maxStreamsPerUser) return "tooManyStreams";
      open++;
      perUser.set(userId, mine + 1);
      let held = true;
      return () => {
        if (held) release(userId);
        held = false;
      };
    },
    drain() {
      draining = true;
    },
    get draining() {
      return draining;
    },
    get open() {
      return open;
    },
  };
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}
