/**
 * One SMTP connection at a time, kept for as long as mails follow each other, and the answer to the only question that
 * matters after a failure: can the mail server have the message? It can once it has been asked for the content (354)
 * and no answer to the whole of it has come; before that it cannot, and a 4xx or 5xx is its word that it has not.
 */
import MailComposer from "nodemailer/lib/mail-composer";
import { parseConnectionUrl } from "nodemailer/lib/shared";
import SMTPConnection from "nodemailer/lib/smtp-connection";
import { describe } from "../errors.ts";
import type { MailMessage } from "./mail_message.ts";

/** What became of one attempt. */
export type Attempt =
  | { readonly result: "sent" }
  /** `unreachable`: it was not about this mail; the next would fare no better. */
  | { readonly result: "retry"; readonly error: string; readonly unreachable: boolean }
  | { readonly result: "dead" | "unknown"; readonly error: string };

export interface Smtp {
  /** Never rejects. Aborting ends the connection; what became of the mail is still told. */
  send(message: MailMessage, signal: AbortSignal): Promise<Attempt>;
  /** Ends the connection, if there is one. */
  close(): void;
}

/** Milliseconds. Short where nothing is lost by trying again, long where an impatient end would leave a doubt. */
const TIMEOUTS = { dnsTimeout: 10_000, connectionTimeout: 10_000, greetingTimeout: 15_000, socketTimeout: 90_000 };

interface SmtpError extends Error {
  responseCode?: number;
  code?: string;
}

const asError = (reason: unknown): SmtpError => (reason instanceof Error ? reason : new Error(String(reason)));

/** Settles as the callback says, or when the connection fails or `signal` ends it. */
function step<T>(
  connection: SMTPConnection,
  signal: AbortSignal,
  run: (done: (error?: Error | null, value?: T) => void) => void,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      signal.removeEventListener("abort", onAbort);
      connection.removeListener("error", onError);
      act();
    };
    const onError = (error: Error): void => settle(() => reject(error));
    const onAbort = (): void => settle(() => reject(asError(signal.reason)));
    signal.addEventListener("abort", onAbort);
    connection.on("error", onError);
    if (signal.aborted) onAbort();
    else run((error, value) => settle(() => (error ? reject(error) : resolve(value))));
  });
}

/** @param url smtp:// or smtps://, with options of nodemailer's SMTP transport in its query */
export function createSmtp(url: string): Smtp {
  const { auth, ...settings } = parseConnectionUrl(url) as Record<string, unknown> & { auth?: Credentials };
  // what is said in the query of the URL goes before; debug would log the messages
  const options = { ...TIMEOUTS, ...settings, logger: false, debug: false };
  let open: SMTPConnection | undefined;

  function close(): void {
    open?.close();
    open = undefined;
  }

  async function connect(signal: AbortSignal): Promise<SMTPConnection> {
    const connection = new SMTPConnection(options);
    // after the steps too: an error event nobody listens to ends the process
    connection.on("error", () => {});
    open = connection;
    await step(connection, signal, (done) => connection.connect(done));
    if (auth && connection.allowsAuth) {
      await step(connection, signal, (done) => connection.login({ ...auth, credentials: auth }, done));
    }
    return connection;
  }

  async function attempt(message: MailMessage, signal: AbortSignal): Promise<Attempt> {
    const reused = open !== undefined && !open.destroyed;
    let connection: SMTPConnection;
    try {
      connection = reused ? open! : await connect(signal);
    } catch (error) {
      close();
      return { result: "retry", error: describe(error), unreachable: !signal.aborted };
    }
    const mail = new MailComposer({ ...message, disableFileAccess: true, disableUrlAccess: true }).compile();
    const content = mail.createReadStream();
    content.on("error", () => {});
    try {
      await step(connection, signal, (done) => connection.send(mail.getEnvelope(), content, done));
      return { result: "sent" };
    } catch (error) {
      close();
      // a connection the server had ended while it was not used says nothing of this mail
      const unread = content.readableFlowing === null;
      if (reused && unread && !isAnswer(error) && !signal.aborted) return attempt(message, signal);
      return judge(asError(error), !unread, signal.aborted);
    }
  }

  return { send: attempt, close };
}

interface Credentials {
  user: string;
  pass: string;
}

/** Whether the server answered about this mail; 421 is about the connection. */
function isAnswer(error: unknown): boolean {
  const code = asError(error).responseCode;
  return code !== undefined && code !== 421;
}

/** @param begun whether the content was asked for: nobody reads it before */
function judge(error: SmtpError, begun: boolean, aborted: boolean): Attempt {
  const text = error.message;
  const code = error.responseCode ?? 0;
  if (code >= 500 && code !== 503) return { result: "dead", error: text };
  if (code >= 400) return { result: "retry", error: text, unreachable: code === 421 };
  // refused on this side already: an envelope that is none, more than the server said it takes
  if (!begun && (error.code === "EENVELOPE" || error.code === "EMESSAGE")) return { result: "dead", error: text };
  if (begun) return { result: "unknown", error: `${text}, after the message was handed over: it may have been sent` };
  return { result: "retry", error: text, unreachable: !aborted };
}
