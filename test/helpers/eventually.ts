/** Waiting for something to become true, with a deadline: no test sleeps and hopes. */

/**
 * Calls `check` until it neither throws nor returns false or null, and returns its result: it may assert (and return
 * nothing), compare, or look something up. After `deadlineMs` the last failure is thrown.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { deadlineMs = 15_000, everyMs = 20 }: { deadlineMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    let failure: unknown;
    try {
      const result = await check();
      if (result !== false && result !== null) return result;
      failure = new Error(`still ${result}: ${check}`);
    } catch (error) {
      failure = error;
    }
    if (Date.now() >= deadline) {
      if (failure instanceof Error) failure.message = `not within ${deadlineMs} ms: ${failure.message}`;
      throw failure;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
