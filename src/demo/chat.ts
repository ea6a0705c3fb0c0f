/** The tab of conversations: pick somebody, read what was said, see them type. Messages are written over HTTP and heard live. */
import { h, setText } from "../client/bell/dom.ts";
import type { AnyFrame, Message, UserRef } from "../client/index.ts";
import type { ChatStream } from "./chat_stream.ts";
import { shown } from "./describe.ts";
import { avatar, button, empty, glyph, type Kept, keyed, row } from "./elements.ts";
import { peopleOf, strangers, type Tab, type TabContext } from "./people.ts";
import type { Session } from "./session.ts";

export interface ChatTab extends Tab {
  talkTo(user: UserRef): void;
  /** In front of the user's eyes: what comes is read. */
  show(isShown: boolean): void;
  /** Unread messages in a room that is not open, or is not looked at. */
  close(): void;
}

/** How long one is still typing after the last key, in ms. */
const TYPING_MS = 3_000;

interface Talk {
  readonly user: UserRef;
  readonly roomId: number;
  stream: ChatStream;
  messages: readonly Message[];
  typing: string;
}

export function chatTab({ session, attempt }: Pick<TabContext, "session" | "attempt">): ChatTab {
  const who = h("div", { class: "who", role: "group", "aria-label": "Conversations" });
  const list = h("ol", {});
  const messages = h("div", { class: "messages", role: "log", "aria-label": "Messages", tabindex: "0" }, list);
  const typing = h("p", { class: "typing", "aria-live": "polite" });
  const nobody = empty("Pick somebody to talk to", "Messages arrive in the other window while they are being sent.");
  const { form, input } = composer();
  const element = h("div", { class: "chat" }, who, nobody, messages, typing, form);
  const drawWho = keyed<Choice>(who, ({ user }) => user.id, choice(talkTo));
  const drawMessages = keyed<Message>(
    list,
    ({ id }) => id,
    row("message", (message) => bubble(session, message)),
  );
  let talk: Talk | undefined;
  let way = session.way();
  let isShown = false;
  let asked = 0;
  let typedAt = 0;
  let quiet: ReturnType<typeof setTimeout> | undefined;

  function talkTo(user: UserRef): void {
    const run = ++asked;
    attempt(
      session.send("POST", "/api/rooms", { kind: "direct", member_ids: [user.id] }).then((room) => {
        if (run !== asked) return;
        leave();
        const roomId = (room as { id: number }).id;
        const open = { user, roomId, messages: [], typing: "", stream: session.openChat(roomId, hear) };
        talk = open;
        draw();
        input.focus();
      }),
    );
  }

  function hear(frame: AnyFrame): void {
    if (!talk) return;
    const { type, data } = frame as { type: string; data: unknown };
    if (type === "ready") attempt(read(talk));
    if (type === "chat_message") add([data as Message]);
    if (type === "typing") {
      const { user, is_typing } = data as { user: UserRef; is_typing: boolean };
      talk.typing = is_typing ? `${shown(user)} is typing…` : "";
    }
    draw();
  }

  async function read(open: Talk): Promise<void> {
    const { items } = (await session.send("GET", `/api/rooms/${open.roomId}/messages?limit=50`)) as {
      items: Message[];
    };
    if (talk === open) add(items);
    draw();
  }

  function add(more: readonly Message[]): void {
    if (!talk) return;
    const byId = new Map([...talk.messages, ...more].map((message) => [message.id, message]));
    talk.messages = [...byId.values()].sort((a, b) => a.id - b.id);
    if (more.some(({ sender }) => sender.id === talk?.user.id)) talk.typing = "";
  }

  /** What is looked at is read. */
  function markRead(): void {
    const roomId = talk?.roomId;
    if (!isShown || roomId === undefined || document.hidden || !unreadIn(session, roomId)) return;
    session
      .client()
      .markAllRead({ type: "new_message", room_id: roomId })
      .catch(() => {});
  }

  function composer(): { form: HTMLFormElement; input: HTMLInputElement } {
    const input = h("input", {
      class: "field grow",
      "aria-label": "Message",
      placeholder: "Write a message",
      maxlength: "4000",
      autocomplete: "off",
    });
    const submit = h("button", { class: "primary round", "aria-label": "Send" }, glyph("send"));
    const form = h("form", { class: "composer" }, input, submit);
    input.addEventListener("input", type);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const content = input.value.trim();
      if (!content || !talk) return;
      input.value = "";
      stopTyping();
      attempt(
        session.send("POST", `/api/rooms/${talk.roomId}/messages`, { content }).then((message) => {
          add([message as Message]);
          draw();
        }),
      );
    });
    return { form, input };
  }

  function type(): void {
    clearTimeout(quiet);
    quiet = setTimeout(stopTyping, TYPING_MS);
    if (Date.now() - typedAt < TYPING_MS / 2) return;
    typedAt = Date.now();
    talk?.stream.typing(true);
  }

  function stopTyping(): void {
    clearTimeout(quiet);
    if (typedAt) talk?.stream.typing(false);
    typedAt = 0;
  }

  function leave(): void {
    stopTyping();
    talk?.stream.close();
    talk = undefined;
  }

  function draw(): void {
    if (talk && way !== session.way()) {
      way = session.way();
      talk.stream.close();
      talk.stream = session.openChat(talk.roomId, hear);
    }
    const people = peopleOf(session.me, session.world(), strangers());
    drawWho(people.map((user) => ({ user, isOpen: user.id === talk?.user.id, unread: unreadFrom(session, user.id) })));
    nobody.hidden = !!talk;
    form.hidden = messages.hidden = !talk;
    drawMessages(talk?.messages ?? []);
    setText(typing, talk?.typing ?? "");
    const last = `${talk?.messages.at(-1)?.id} ${isShown}`;
    if (messages.dataset.last !== last) messages.scrollTop = messages.scrollHeight;
    messages.dataset.last = last;
    markRead();
  }

  const show = (now: boolean): void => {
    isShown = now;
    draw();
  };
  return { element, draw, talkTo, show, close: leave };
}

interface Choice {
  readonly user: UserRef & { status?: "online" | "offline" };
  readonly isOpen: boolean;
  readonly unread: number;
}

function choice(talkTo: (user: UserRef) => void): (first: Choice) => Kept<Choice> {
  return ({ user }) => {
    const name = h("span", {}, shown(user));
    const badge = h("span", { class: "badge" });
    const element = button("person", () => talkTo(user), avatar(user), name, badge);
    return {
      element,
      update: ({ isOpen, unread }) => {
        element.setAttribute("aria-pressed", `${isOpen}`);
        setText(badge, unread ? `${unread}` : "");
        badge.hidden = !unread;
      },
    };
  };
}

function bubble({ me }: Session, { sender, content, created_at }: Message): Node[] {
  const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" }).format(new Date(created_at));
  const mine = sender.id === me.id;
  return [
    h(
      "div",
      { class: mine ? "bubble mine" : "bubble" },
      h("span", { class: "hidden" }, mine ? "You: " : `${shown(sender)}: `),
      content,
      h("time", { datetime: created_at }, time),
    ),
  ];
}

const unread = (session: Session, meant: (data: Record<string, unknown>) => boolean): number =>
  session
    .client()
    .getSnapshot()
    .notifications.filter((item) => !item.is_read && item.notification_type === "new_message" && meant(item.data))
    .length;

const unreadIn = (session: Session, roomId: number): number => unread(session, (data) => data.room_id === roomId);
const unreadFrom = (session: Session, userId: number): number => unread(session, (data) => data.sender_id === userId);
