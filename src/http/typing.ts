/**
 * Who is typing, on one chat stream: told to the others at most every three seconds, and taken back by itself when
 * nothing more is heard (CONTRACT section 3).
 */

const AGAIN_MS = 3_000;
const EXPIRES_MS = 6_000;

export interface Typing {
  /** The client says so. */
  set(typing: boolean): Promise<void>;
  /** A message was sent, or the stream ended: no longer typing. */
  done(): Promise<void>;
}

/** @param tell sends the frame to the room */
export function createTyping(tell: (typing: boolean) => Promise<void>): Typing {
  let toldAt = Number.NEGATIVE_INFINITY;
  let typing = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function stop(): Promise<void> {
    clearTimeout(timer);
    if (!typing) return;
    typing = false;
    toldAt = Number.NEGATIVE_INFINITY;
    await tell(false);
  }

  return {
    async set(now) {
      if (!now) return stop();
      clearTimeout(timer);
      timer = setTimeout(() => void stop().catch(() => {}), EXPIRES_MS);
      typing = true;
      if (performance.now() - toldAt < AGAIN_MS) return;
      toldAt = performance.now();
      await tell(true);
    },
    done: stop,
  };
}
