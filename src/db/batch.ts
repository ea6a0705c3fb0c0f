/**
 * Folds single questions asked at about the same time into one query of many. One query of a kind runs at a time
 * (or `lanes`), so questions gather by themselves under load; `gather` makes a burst of them gather on purpose.
 */

export interface BatchOptions<Q, A> {
  /** Answers in the order of the questions. */
  run(questions: readonly Q[]): Promise<readonly A[]>;
  /** Most questions in one query. */
  readonly most: number;
  /** Queries at the same time. Default 1. */
  readonly lanes?: number;
  /**
   * Milliseconds a question may wait for others while they arrive in a burst; a lone question never waits. Default 0.
   */
  readonly gatherMs?: number;
}

interface Waiting<Q, A> {
  readonly question: Q;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: unknown) => void;
}

/** Returns the asking function. A failed query rejects each of its questions. */
export function batch<Q, A>(options: BatchOptions<Q, A>): (question: Q) => Promise<A> {
  const { run, most, lanes = 1, gatherMs = 0 } = options;
  const waiting: Waiting<Q, A>[] = [];
  let running = 0;
  let scheduled = false;
  let gathering: ReturnType<typeof setTimeout> | undefined;
  let arrivals = 0;
  let windowStart = 0;
  let bursting = false;

  /** A burst: more than an eighth of a full query arrived within one gathering window. */
  function noteArrival(): void {
    const now = performance.now();
    const age = now - windowStart;
    if (age > gatherMs) {
      bursting = arrivals > most / 8 && age < 2 * gatherMs;
      windowStart = now;
      arrivals = 0;
    }
    if (++arrivals > most / 8) bursting = true;
  }

  async function flush(): Promise<void> {
    clearTimeout(gathering);
    gathering = undefined;
    scheduled = false;
    if (running >= lanes || waiting.length === 0) return;
    const taken = waiting.splice(0, most);
    running++;
    try {
      const answers = await run(taken.map((one) => one.question));
      taken.forEach((one, at) => {
        one.resolve(answers[at]!);
      });
    } catch (error) {
      for (const one of taken) one.reject(error);
    } finally {
      running--;
      if (waiting.length > 0) schedule();
    }
  }

  function schedule(): void {
    const isFull = waiting.length >= most;
    // a full query has nobody to wait for
    if (scheduled && !(gathering && isFull)) return;
    clearTimeout(gathering);
    gathering = undefined;
    scheduled = true;
    if (bursting && !isFull) gathering = setTimeout(flush, gatherMs);
    else queueMicrotask(flush);
  }

  return (question) =>
    new Promise<A>((resolve, reject) => {
      waiting.push({ question, resolve, reject });
      if (gatherMs > 0) noteArrival();
      schedule();
    });
}
