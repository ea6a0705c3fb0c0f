/**
 * Mails notifications that stay unread (CONTRACT section 9), on any number of instances. Sleeps until the next one is due
 * and looks, which is a read; only then claims, sends and records. What the mail server may already have is never
 * sent again by itself.
 */
import { backoff, jitter } from "../backoff.ts";
import type { Sql } from "../db/client.ts";
import { describe } from "../errors.ts";
import { unsubscribeLink } from "./mail_link.ts";
import { isAddress, mailMessage } from "./mail_message.ts";
import { type Claim, createMailQueue, type Settlement } from "./mail_queue.ts";
import { type Attempt, createSmtp, type Smtp } from "./mail_smtp.ts";

export interface MailerOptions {
  readonly sql: Sql;
  /** smtp:// or smtps://; options of nodemailer's SMTP transport in its query. */
  readonly smtpUrl: string;
  readonly from: string;
  /** How long a notification stays unread before it is mailed, unless `tidings.email_delay` has its type. */
  readonly delaySeconds: number;
  /** Where this server is reached from outside. Without it mails have no unsubscribe link. */
  readonly baseUrl?: string | undefined;
  /** Signs unsubscribe links; the same on all instances. */
  readonly unsubscribeKey: string;
  readonly log: { warn(fields: object, text: string): void };
  /** Told of each result: sent, retried, dead and unknown of a message, cancelled of an entry. */
  readonly observe?: ((result: string) => void) | undefined;
  readonly timing?: Partial<MailTiming> | undefined;
}

/** For tests; see DEFAULTS. */
export interface MailTiming {
  /** The first wait before a mail is tried again, in milliseconds; doubled each time, up to four hours. */
  readonly retryMs: number;
  readonly maxAttempts: number;
  /** After this a claim whose worker never answered is unknown. */
  readonly leaseSeconds: number;
  /** Mails sent at the same time. */
  readonly lanes: number;
}

export interface Mailer {
  start(): void;
  /** Something was stored: looks again when it can be due at the soonest. Cheap. */
  nudge(): void;
  /** Claims nothing more, and ends once what is under way has been sent and recorded; after 10 s that is cut short. */
  stop(): Promise<void>;
}

/** Ten attempts take some eight hours. */
const DEFAULTS: MailTiming = { retryMs: 60_000, maxAttempts: 10, leaseSeconds: 600, lanes: 3 };
const MAX_RETRY_MS = 4 * 3_600_000;
/** One attempt, whatever happens. Far below the lease: a claim that is older has nobody. */
const SEND_MS = 240_000;
/** The longest sleep: mails retried by an operator, and delays made shorter, are seen after this. */
const IDLE_MS = 30_000;
/** Something is due and others are at it. */
const BUSY_MS = 1_000;
/** Nudges closer together than this are one. */
const GATHER_MS = 250;
const STOP_MS = 10_000;

/** Before the next attempt: the nth wait is anywhere in the upper half of its bound. */
export function retryDelay(attempts: number, firstMs: number, random: () => number = Math.random): number {
  const bound = Math.min(firstMs * 2 ** (attempts - 1), MAX_RETRY_MS);
  return jitter(Math.ceil(bound / 2), bound, random);
}

export function createMailer(options: MailerOptions): Mailer {
  const { sql, log, observe = () => {}, delaySeconds } = options;
  const timing: MailTiming = { ...DEFAULTS, ...options.timing };
  const queue = createMailQueue({ ...timing, sql, delaySeconds });
  const domain = /@([^\s<>@]+)>?\s*$/.exec(options.from)?.[1] ?? "localhost";
  const life = new AbortController();
  const trouble = backoff({ baseMs: 2_000, capMs: 60_000 });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | undefined;
  let plannedAt = Number.POSITIVE_INFINITY;
  let shortestMs = 0;
  let isNudged = false;
  let isStarted = false;
  let isStopped = false;

  /** Works until nothing is due. True: the mail server cannot be reached. */
  async function lane(done: () => void): Promise<boolean> {
    const smtp = createSmtp(options.smtpUrl);
    try {
      while (!isStopped) {
        const { claim, cancelled, expired } = await queue.claim(`${crypto.randomUUID()}@${domain}`);
        for (let n = 0; n < cancelled; n++) observe("cancelled");
        for (let n = 0; n < expired; n++) observe("unknown");
        if (expired > 0) log.warn({ entries: expired }, "mails whose worker ended half-way are in state unknown");
        if (cancelled + expired > 0 || claim) done();
        if (!claim) return false;
        const attempt = await deliver(options, claim, smtp, life.signal);
        await record(claim, attempt);
        if (attempt.result === "retry" && attempt.unreachable) return true;
      }
      return false;
    } finally {
      smtp.close();
    }
  }

  /** Tried until it is written: what is not written would count as unknown. */
  async function record(claim: Claim, attempt: Attempt): Promise<void> {
    const again = backoff({ baseMs: 200, capMs: 5_000 });
    const attempts = Math.max(...claim.entries.map((entry) => entry.attempts));
    for (;;) {
      try {
        const state = await queue.settle(claim, settlementOf(attempt, retryDelay(attempts, timing.retryMs)));
        observe(state === "pending" ? "retried" : (state ?? attempt.result));
        if (state !== "sent") report(claim, attempt, state);
        return;
      } catch (error) {
        log.warn({ err: error, message_id: claim.messageId }, "the result of a mail was not recorded; tried again");
        if (life.signal.aborted) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100 + again.next()));
      }
    }
  }

  function report({ userId, entries, messageId }: Claim, attempt: Attempt, state: string | null): void {
    const error = attempt.result === "sent" ? undefined : attempt.error;
    const fields = { user_id: userId, ids: entries.map(({ id }) => id), message_id: messageId, state, error };
    log.warn(fields, state === "pending" ? "a mail was not sent; it is tried again" : "a mail was not sent");
  }

  /** One look and what follows from it. Returns how long to sleep, in milliseconds. */
  async function round(): Promise<number> {
    const look = await queue.look();
    shortestMs = look.shortestMs;
    if (look.waitMs === null) return IDLE_MS;
    if (look.waitMs > 0) return Math.min(look.waitMs, IDLE_MS) + jitter(1, 50);
    let isAnyDone = false;
    const lanes = Array.from({ length: timing.lanes }, () => lane(() => (isAnyDone = true)));
    const ends = await Promise.allSettled(lanes);
    const failed = ends.find((end) => end.status === "rejected");
    if (failed) throw failed.reason;
    if (ends.some((end) => end.status === "fulfilled" && end.value)) return 500 + trouble.next();
    trouble.reset();
    return isAnyDone ? 0 : BUSY_MS;
  }

  async function guarded(): Promise<number> {
    try {
      return await round();
    } catch (error) {
      if (!isStopped) log.warn({ err: error }, "a round of e-mail failed; it is tried again");
      return 500 + trouble.next();
    }
  }

  function plan(ms: number): void {
    if (isStopped) return;
    clearTimeout(timer);
    plannedAt = Date.now() + ms;
    timer = setTimeout(() => {
      isNudged = false;
      running = guarded().then((next) => {
        running = undefined;
        plan(isNudged ? Math.min(next, shortestMs + GATHER_MS) : next);
      });
    }, ms);
  }

  return {
    start() {
      if (!isStarted) plan(0);
      isStarted = true;
    },
    nudge() {
      if (!isStarted) return;
      isNudged = true;
      const soonest = shortestMs + GATHER_MS;
      if (!running && Date.now() + soonest < plannedAt) plan(soonest);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      const late = setTimeout(() => life.abort(new Error("the server is stopping")), STOP_MS);
      await running;
      clearTimeout(late);
    },
  };
}

function settlementOf(attempt: Attempt, waitMs: number): Settlement {
  if (attempt.result === "sent") return { outcome: "sent" };
  if (attempt.result === "retry") return { outcome: "retry", error: attempt.error, waitMs };
  return { outcome: attempt.result, error: attempt.error };
}

/** Sends a claim as one message. Never rejects. */
async function deliver(options: MailerOptions, claim: Claim, smtp: Smtp, life: AbortSignal): Promise<Attempt> {
  if (!isAddress(claim.address)) return { result: "dead", error: "tidings.contact_of gave no plain e-mail address" };
  const { from, baseUrl, unsubscribeKey } = options;
  const limit = new AbortController();
  const end = (): void => limit.abort(life.reason);
  const timer = setTimeout(() => limit.abort(new Error(`not sent within ${SEND_MS / 1_000} s`)), SEND_MS);
  life.addEventListener("abort", end);
  if (life.aborted) end();
  try {
    const types = [...new Set(claim.entries.map(({ type }) => type))].sort();
    const unsubscribeUrl = baseUrl
      ? await unsubscribeLink(unsubscribeKey, baseUrl, { userId: claim.userId, types })
      : null;
    return await smtp.send(mailMessage(claim, { from, baseUrl, unsubscribeUrl }), limit.signal);
  } catch (error) {
    // nothing was sent: `send` does not reject
    return { result: "dead", error: describe(error) };
  } finally {
    clearTimeout(timer);
    life.removeEventListener("abort", end);
  }
}
