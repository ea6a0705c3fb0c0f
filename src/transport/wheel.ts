/**
 * One timer for the heartbeats of all streams, where two timers each would cost 50,000 streams 100,000 of them.
 * Time is counted in ticks of one interval, not read from a clock: while the process stands still (a long collection,
 * SIGSTOP, a laptop asleep) no deadline passes, and nobody is cut for pongs that wait unread in the kernel.
 * The interval runs only while something is scheduled, and never keeps a process alive by itself.
 */

/** Something with a next time to act. */
export interface Beat {
  /** Written by the wheel alone; 0 where not scheduled. */
  slot: number;
  /** Acts. @returns milliseconds until the next time, 0 for none. Must not throw. */
  beat(): number;
}

export interface Wheel {
  /** Schedules, or moves, one member. The delay in milliseconds is rounded up to a tick and may be short by part of one. */
  schedule(member: Beat, delayMs: number): void;
  /** Does nothing where not scheduled. */
  cancel(member: Beat): void;
  /** How many are scheduled. */
  readonly size: number;
}

/** @param tickMs the resolution; 500 ms is fine for heartbeats of many seconds */
export function createWheel(tickMs = 500): Wheel {
  const slots = new Map<number, Set<Beat>>();
  let now = 0;
  let size = 0;
  let timer: ReturnType<typeof setInterval> | undefined;

  function schedule(member: Beat, delayMs: number): void {
    cancel(member);
    const slot = now + Math.max(1, Math.ceil(delayMs / tickMs));
    const members = slots.get(slot);
    if (members) members.add(member);
    else slots.set(slot, new Set([member]));
    member.slot = slot;
    size += 1;
    start();
  }

  function cancel(member: Beat): void {
    if (member.slot === 0) return;
    const members = slots.get(member.slot);
    if (members?.delete(member)) size -= 1;
    if (members?.size === 0) slots.delete(member.slot);
    member.slot = 0;
    if (size === 0) stop();
  }

  function tick(): void {
    now += 1;
    // The set stays in the map while it is walked, so that one beat may cancel another that is due.
    for (const member of slots.get(now) ?? []) {
      cancel(member);
      const next = member.beat();
      if (next > 0) schedule(member, next);
    }
  }

  function start(): void {
    if (timer !== undefined) return;
    timer = setInterval(tick, tickMs);
    (timer as { unref?: () => void }).unref?.();
  }

  function stop(): void {
    clearInterval(timer);
    timer = undefined;
  }

  return {
    schedule,
    cancel,
    get size() {
      return size;
    },
  };
}

/** The wheel that all streams of this process share. */
export const sharedWheel: Wheel = createWheel();
