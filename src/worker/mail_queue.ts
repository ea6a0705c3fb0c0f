/**
 * The queue of mails in Postgres (sql/tidings/functions/email.sql), for any number of workers. A claim is committed when
 * `claim` resolves, so that whoever dies after it leaves a row that says so, and nothing is sent twice by itself.
 */
import type { Sql } from "../db/client.ts";

/** One entry of a mail, as the producer wrote it: nothing in it is fit for a header or HTML. */
export interface MailEntry {
  readonly id: number;
  readonly type: string;
  readonly title: string | null;
  readonly message: string;
  /** The field `url` of the notification's data. */
  readonly url: unknown;
  /** How often it was tried, with this time. */
  readonly attempts: number;
  readonly created_at: string;
}

/** What is due of one user, to be sent as one message. */
export interface Claim {
  readonly userId: string;
  readonly address: string;
  readonly entries: readonly MailEntry[];
  /** Without angle brackets. Identifies the claim, too. */
  readonly messageId: string;
}

/** What became of a mail. `retry`: the mail server does not have it; `unknown`: it may have it. */
export type Settlement =
  | { readonly outcome: "sent" }
  | { readonly outcome: "dead" | "unknown"; readonly error: string }
  | { readonly outcome: "retry"; readonly error: string; readonly waitMs: number };

export interface MailQueue {
  /**
   * `waitMs` until something is due (0 or less: now; null: nothing waits), and the shortest delay there is. A read.
   */
  look(): Promise<{ waitMs: number | null; shortestMs: number }>;
  /** `claim` is null where nothing is due that nobody else is at. The counts are of entries settled on the way. */
  claim(messageId: string): Promise<{ claim: Claim | null; cancelled: number; expired: number }>;
  /** The state it led to; null where an operator has decided otherwise meanwhile. */
  settle(claim: Claim, settlement: Settlement): Promise<"sent" | "pending" | "dead" | "unknown" | null>;
}

export interface QueueOptions {
  readonly sql: Sql;
  /** How long a notification stays unread before it is mailed, where its type has no delay of its own. */
  readonly delaySeconds: number;
  /** After this a claim without an answer counts as left behind. Longer than any attempt to send may take. */
  readonly leaseSeconds: number;
  /** Tries after which a mail is dead. */
  readonly maxAttempts: number;
}

interface ClaimRow {
  user_id: string | null;
  address: string;
  entries: MailEntry[];
  cancelled: number;
  expired: number;
}

export function createMailQueue({ sql, delaySeconds, leaseSeconds, maxAttempts }: QueueOptions): MailQueue {
  return {
    async look() {
      const [row] = await sql<{ wait: number | null; shortest: number }[]>`
        select wait, shortest from tidings.email_wait(${delaySeconds}, ${leaseSeconds})`;
      return { waitMs: row!.wait === null ? null : row!.wait * 1_000, shortestMs: row!.shortest * 1_000 };
    },
    async claim(messageId) {
      const [row] = await sql<ClaimRow[]>`
        select * from tidings.claim_email(${messageId}, ${delaySeconds}, ${leaseSeconds})`;
      const { user_id: userId, address, entries, cancelled, expired } = row!;
      return { claim: userId === null ? null : { userId, address, entries, messageId }, cancelled, expired };
    },
    async settle({ userId, messageId }, settlement) {
      const { outcome } = settlement;
      const error = outcome === "sent" ? null : settlement.error;
      const waitSeconds = outcome === "retry" ? settlement.waitMs / 1_000 : 0;
      const [row] = await sql<{ state: "sent" | "pending" | "dead" | "unknown" | null }[]>`
        select tidings.settle_email(${userId}, ${messageId}, ${outcome}, ${error}, ${waitSeconds}, ${maxAttempts}) as state`;
      return row!.state;
    },
  };
}
