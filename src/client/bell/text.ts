/**
 * Every word the bell says, replaceable by the property `labels`; times are said in the page's language.
 */

export interface Labels {
  title: string;
  unread(count: number): string;
  markAll: string;
  markRead: string;
  markUnread: string;
  remove: string;
  fresh: string;
  earlier: string;
  older: string;
  emptyTitle: string;
  emptyText: string;
  loading: string;
  live: string;
  connecting: string;
  offline: string;
  signedOut: string;
  failed: string;
  retry: string;
  arrived(title: string): string;
  /** A change that the server refused. */
  refused: string;
}

export const LABELS: Labels = {
  title: "Notifications",
  unread: (count) => `${count} unread`,
  markAll: "Mark all as read",
  markRead: "Mark as read",
  markUnread: "Mark as unread",
  remove: "Remove",
  fresh: "New",
  earlier: "Earlier",
  older: "Show older",
  emptyTitle: "You’re all caught up",
  emptyText: "New notifications appear here the moment something happens.",
  loading: "Loading your notifications…",
  live: "Live",
  connecting: "Reconnecting…",
  offline: "You’re offline",
  signedOut: "Your session has ended. Sign in again.",
  failed: "Live updates have stopped.",
  retry: "Try again",
  arrived: (title) => `New notification: ${title}`,
  refused: "That did not work. Please try again.",
};

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["minute", 60],
  ["hour", 3600],
  ["day", 86_400],
];

/** "now", "5 min. ago", "yesterday", and beyond a week the date. */
export function ago(timestamp: string, now: number): string {
  const time = Date.parse(timestamp);
  if (Number.isNaN(time)) return "";
  const language = document.documentElement.lang || undefined;
  const seconds = Math.max(0, (now - time) / 1000);
  if (seconds >= 7 * 86_400) {
    return new Intl.DateTimeFormat(language, { day: "numeric", month: "short" }).format(time);
  }
  const [unit, size] = STEPS.findLast(([, least]) => seconds >= least) ?? ["second", 1];
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "narrow" });
  return format.format(unit === "second" ? 0 : -Math.floor(seconds / size), unit);
}
