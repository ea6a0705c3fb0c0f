/** A frame as one line for people: the time, the entry's id, the type, and what it says. Pure. */

/** Keeps text from moving the cursor or changing colours of the terminal it is shown on. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

export function frameLine(frame: { readonly type: string; readonly id?: number }, now: Date): string {
  const time = now.toTimeString().slice(0, 8);
  const id = (typeof frame.id === "number" ? `#${frame.id}` : "").padStart(6);
  return `${time} ${id}  ${frame.type.padEnd(20)} ${words({ ...frame })}`.replace(CONTROL, " ").trimEnd();
}

function words({ type, id, more, ...rest }: { type: string } & Record<string, unknown>): string {
  void [id, more];
  const data = (rest.data ?? {}) as Record<string, unknown>;
  switch (type) {
    case "ready":
      return `user ${data.user_id}, ${data.unread_count} unread, ${data.resume} after ${data.last_event_id}`;
    case "notification": {
      const text = [data.title, data.message].filter((part) => part).join(": ");
      return `[${data.notification_type}] ${text}${rest.archived ? " (archived)" : ""}`;
    }
    case "unread_count":
      return `${data.count} unread`;
    case "presence_update":
      return `user ${rest.user_id} is ${rest.status}`;
    default:
      return JSON.stringify(rest.data && Object.keys(rest).length === 1 ? rest.data : rest);
  }
}
