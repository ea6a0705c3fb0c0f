/**
 * The end of an instance (CONTRACT section 10): no new streams, then the end of the open ones spread evenly over the
 * drain window in random order, so that their clients do not all come to the other instances at once. The port stays
 * open meanwhile: who comes for a stream is told to come back, and a load balancer sees /readyz say no.
 */
import type { Hub } from "./core/hub.ts";
import type { Admission } from "./http/admission.ts";

interface Closing {
  close(graceMs: number): Promise<void>;
}

const STEP_MS = 50;
/** After the last stream was told: time for closing handshakes and requests in flight. */
const GRACE_MS = 5_000;

export async function drain(server: Closing, admission: Admission, hub: Hub, windowMs: number): Promise<void> {
  admission.drain();
  const streams = shuffled([...hub.streams()]);
  const began = performance.now();
  for (let at = 0; at < streams.length; ) {
    const elapsed = performance.now() - began;
    const due = windowMs === 0 ? streams.length : Math.ceil((streams.length * (elapsed + STEP_MS)) / windowMs);
    for (; at < Math.min(due, streams.length); at++) streams[at]!.end("restart", "restarting");
    if (at < streams.length) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
  // those whose handshake was under way when the draining began
  for (const stream of hub.streams()) stream.end("restart", "restarting");
  await server.close(GRACE_MS);
}

function shuffled<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last--) {
    const at = Math.floor(Math.random() * (last + 1));
    [items[last], items[at]] = [items[at]!, items[last]!];
  }
  return items;
}
