/**
 * From claimed entries to one message, as text and HTML. Titles, messages and URLs are anybody's text: none of it
 * gets into a header with a line end, into HTML unescaped, or behind a link that is not http(s).
 */
import type { Claim, MailEntry } from "./mail_queue.ts";

/** What an SMTP connection is handed. */
export interface MailMessage {
  readonly from: string;
  readonly to: { readonly name: string; readonly address: string };
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface MessageOptions {
  readonly from: string;
  /** Where this server is reached from outside; links that are paths are completed with it. */
  readonly baseUrl?: string | undefined;
  /** Where one click switches the e-mail off. */
  readonly unsubscribeUrl: string | null;
}

const SUBJECT_LENGTH = 150;
const MESSAGE_LENGTH = 2_000;
/** Control characters but tab and line feed, and those that turn the direction of what follows them. */
const UNPRINTABLE = /[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** One line of text, fit for a header. */
export function oneLine(text: string, most: number): string {
  return cut(
    text
      .replace(/[\s\u2028\u2029]+/gu, " ")
      .replace(UNPRINTABLE, "")
      .trim(),
    most,
  );
}

function lines(text: string): string {
  const kept = text
    .replace(/\r\n?|[\u2028\u2029]/g, "\n")
    .replace(UNPRINTABLE, (c) => (c === "\n" || c === "\t" ? c : ""));
  return cut(kept.trim(), MESSAGE_LENGTH);
}

function cut(text: string, most: number): string {
  const characters = [...text.toWellFormed()];
  return characters.length <= most ? characters.join("") : `${characters.slice(0, most - 1).join("")}…`;
}

/** As text or within a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A notification's `url` as it may stand in a mail: http or https, without credentials; null for anything else. */
export function safeUrl(url: unknown, baseUrl?: string): string | null {
  if (typeof url !== "string" || url === "" || url.length > 2_000 || !URL.canParse(url, baseUrl)) return null;
  const { protocol, username, password, href } = new URL(url, baseUrl);
  return (protocol === "https:" || protocol === "http:") && username + password === "" ? href : null;
}

/** One address and nothing else: no list, no name, nothing a header or an SMTP command would take for its end. */
export function isAddress(text: string): boolean {
  return text.length <= 254 && /^[^\s\p{Cc}()<>@,;:\\"[\]]{1,64}@[^\s\p{Cc}()<>@,;:\\"[\]]+$/u.test(text);
}

interface Shown {
  title: string;
  message: string;
  url: string | null;
}

function shown(entry: MailEntry, baseUrl: string | undefined): Shown {
  return { title: oneLine(entry.title ?? "", 300), message: lines(entry.message), url: safeUrl(entry.url, baseUrl) };
}

function textOf(all: readonly Shown[], unsubscribeUrl: string | null): string {
  const parts = all.map(({ title, message, url }) => [title, message, url].filter(Boolean).join("\n"));
  const end = unsubscribeUrl ? `\n\n-- \nNo more e-mail like this: ${unsubscribeUrl}` : "";
  return `${parts.join("\n\n---\n\n")}${end}\n`;
}

function htmlOf(all: readonly Shown[], unsubscribeUrl: string | null): string {
  const parts = all.map(({ title, message, url }) => {
    const heading = title ? `<h2 style="font-size:17px;margin:0 0 4px">${escapeHtml(title)}</h2>` : "";
    const text = `<p style="margin:0 0 4px">${escapeHtml(message).replaceAll("\n", "<br>")}</p>`;
    const link = url ? `<p style="margin:0"><a href="${escapeHtml(url)}">Open</a></p>` : "";
    return `<div style="padding:14px 0;border-bottom:1px solid #ddd">${heading}${text}${link}</div>`;
  });
  const end = unsubscribeUrl
    ? `<p style="font-size:13px;color:#666"><a href="${escapeHtml(unsubscribeUrl)}" style="color:#666">No more e-mail like this</a></p>`
    : "";
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"></head><body style="font:15px/1.5 system-ui,sans-serif;max-width:600px;margin:0 auto;padding:16px">${parts.join("")}${end}</body></html>`;
}

/** The message of a claim, a digest where it has several entries. */
export function mailMessage({ address, entries, messageId }: Claim, options: MessageOptions): MailMessage {
  const { from, baseUrl, unsubscribeUrl } = options;
  const all = entries.map((entry) => shown(entry, baseUrl));
  const subject = all.length === 1 ? all[0]!.title || all[0]!.message : `${all.length} new notifications`;
  return {
    from,
    to: { name: "", address },
    subject: oneLine(subject, SUBJECT_LENGTH) || "New notification",
    text: textOf(all, unsubscribeUrl),
    html: htmlOf(all, unsubscribeUrl),
    messageId: `<${messageId}>`,
    headers: {
      // keeps vacation answers away (RFC 3834)
      "Auto-Submitted": "auto-generated",
      ...(unsubscribeUrl
        ? { "List-Unsubscribe": `<${unsubscribeUrl}>`, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click" }
        : {}),
    },
  };
}
