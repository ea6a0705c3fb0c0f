/**
 * Carries out the transactions of a plan, and remembers what became of each: committed, undone, or unknown where the
 * connection was lost at the commit. That is what the database, and then every stream, is held against.
 */
import { close, connect, type Sql } from "../../src/db/client.ts";
import type { Draft, Transaction } from "./plan.ts";

/** What is known of a transaction. */
export interface Fate {
  readonly drafts: readonly Draft[];
  readonly undone: readonly Draft[];
  outcome: "committed" | "rolled back" | "unknown";
  /** Milliseconds of one clock. */
  readonly began: number;
  ended: number;
}

export interface Writer {
  readonly fates: readonly Fate[];
  /** Begins a transaction and does not wait for it. */
  publish(transaction: Transaction): void;
  transient(user: number, size: number): void;
  /** Resolves when everything begun is over. Rejects where Postgres refused a statement. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

const LANES = 12;

export function writer(url: string): Writer {
  // the driver lets a transaction be sent as text only where it cannot mix with others
  const lanes = Array.from({ length: LANES }, () => connect(url, { max: 1, name: "writer" }));
  let turn = 0;
  const lane = (): Sql => lanes[turn++ % LANES]!;
  const fates: Fate[] = [];
  const open = new Set<Promise<unknown>>();
  let failure: unknown;
  const run = (work: () => Promise<void>): void => {
    const done = work()
      .catch((error: unknown) => {
        failure ??= error;
      })
      .finally(() => open.delete(done));
    open.add(done);
  };

  async function carryOut(transaction: Transaction): Promise<void> {
    const { drafts, undone } = transaction;
    const fate: Fate = {
      drafts,
      undone,
      outcome: "unknown",
      began: performance.now(),
      ended: Number.POSITIVE_INFINITY,
    };
    fates.push(fate);
    try {
      // not sql.begin: the driver ends the process when its connection is lost in the middle of one
      await lane().unsafe(textOf(transaction)).simple();
      fate.outcome = transaction.outcome === "commit" ? "committed" : "rolled back";
    } catch (error) {
      if (!isLost(error)) throw error;
      if (transaction.outcome === "rollback") fate.outcome = "rolled back";
    }
    fate.ended = performance.now();
  }

  return {
    fates,
    publish: (transaction) => run(() => carryOut(transaction)),
    transient: (user, size) =>
      run(async () => {
        const payload = JSON.stringify({ type: "wave", text: "x".repeat(size) });
        await lane()`select tidings.notify_user(${user}::bigint, ${payload}::text::jsonb)`.catch((error) => {
          if (!isLost(error)) throw error;
        });
      }),
    async settled() {
      while (open.size > 0) await Promise.all(open);
      if (failure) throw failure;
    },
    stop: async () => void (await Promise.all(lanes.map((sql) => close(sql, 1)))),
  };
}

/** The whole transaction as one text, as psql would send it. */
function textOf({ drafts, undone, outcome, holdMs, how }: Transaction): string {
  const last = drafts.slice(-1);
  const undo = undone.length === 0 ? [] : ["savepoint s", ...undone.map(send), "rollback to savepoint s"];
  const one = how === "broadcast" ? broadcast(drafts) : fromQuery(drafts);
  const statements = how === "each" ? [...drafts.slice(0, -1).map(send), ...undo, ...last.map(send)] : [one];
  const hold = holdMs > 0 ? [`select pg_sleep(${holdMs / 1_000})`] : [];
  return ["begin", ...statements, ...hold, outcome].join(";\n");
}

/** Tags and keys hold no quotes. */
const text = (value: string | null): string => (value === null ? "null" : `'${value}'::text`);
const messageOf = ({ shape, tag, padding }: Draft): string =>
  shape === "event" ? "null::text" : `rpad('${tag}', ${tag.length + padding})`;
const eventOf = ({ shape, tag }: Draft): string =>
  shape === "notification" ? "null::jsonb" : `jsonb_build_object('type', 'moved', 'tag', '${tag}')`;

const send = (draft: Draft): string =>
  `select tidings.send_notification(${draft.user}, 'T', ${messageOf(draft)}, 'note', '{}', ${eventOf(draft)}, ${text(draft.key ?? null)})`;

/** One statement, one entry for each user, the same for all. */
const broadcast = (drafts: readonly Draft[]): string =>
  `select tidings.broadcast(array[${drafts.map(({ user }) => user)}]::bigint[], 'T', ${messageOf(drafts[0]!)}, 'note')`;

const fromQuery = (drafts: readonly Draft[]): string =>
  `select tidings.send_notification(u, 'T', m, 'note', '{}', e) from (values ${drafts
    .map((draft, n) => `(${n}, ${draft.user}::bigint, ${messageOf(draft)}, ${eventOf(draft)})`)
    .join()}) as d(n, u, m, e) order by n`;

/** Postgres was stopped, or this backend terminated. Anything else is a mistake. */
function isLost(error: unknown): boolean {
  const code = String((error as { code?: unknown }).code ?? "");
  return /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|EPIPE|57P0|08)/.test(code);
}
