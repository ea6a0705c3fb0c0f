/** One window: who is signed in, the bell, the tabs, the strip. What happens in another window comes over the wire. */
import { h, setText } from "../client/bell/dom.ts";
import type { Notification, UserRef } from "../client/index.ts";
import { chatTab } from "./chat.ts";
import { shown, userOf } from "./describe.ts";
import { avatar, button, select } from "./elements.ts";
import { peopleTab, strangers, type TabContext } from "./people.ts";
import type { Session } from "./session.ts";
import { signInAs, signInCard } from "./sign_in.ts";
import { strip } from "./strip.ts";
import { tabs } from "./tabs.ts";
import { tasksTab } from "./tasks.ts";

export interface Pane {
  readonly element: HTMLElement;
  /** Signs somebody in, or nobody. */
  enter(user: UserRef | null): void;
  /** Hears when the user, or what waits for them, changes. */
  onChange(hear: (user: UserRef | null, unread: number) => void): void;
}

const PROBLEM_MS = 6_000;

/** @param id tells the windows apart, in ids and labels */
export function pane(id: string): Pane {
  const element = h("section", { class: "pane", id, "aria-label": `Window ${id}` });
  let hear: (user: UserRef | null, unread: number) => void = () => {};
  let leave: () => void = () => {};
  let run = 0;

  async function take(coming: Promise<Session>): Promise<void> {
    const own = ++run;
    const session = await coming;
    if (own !== run) return session.close();
    leave();
    const { close, parts } = signedIn(id, session, enter, (unread) => hear(session.me, unread));
    leave = close;
    element.setAttribute("aria-label", `${shown(session.me)}’s window`);
    element.replaceChildren(...parts);
    hear(session.me, 0);
  }

  function enter(user: UserRef | null): void {
    if (user) {
      take(signInAs(user)).catch(() => ask());
    } else ask();
  }

  function ask(): void {
    run++;
    leave();
    leave = () => {};
    element.setAttribute("aria-label", `Window ${id}`);
    element.replaceChildren(signInCard(take));
    hear(null, 0);
  }

  return {
    element,
    enter,
    onChange: (how) => {
      hear = how;
    },
  };
}

interface SignedIn {
  readonly parts: readonly HTMLElement[];
  close(): void;
}

function signedIn(
  id: string,
  session: Session,
  enter: (user: UserRef | null) => void,
  onUnread: (unread: number) => void,
): SignedIn {
  const problem = h("p", { class: "problem", role: "alert" });
  let forgetting: ReturnType<typeof setTimeout> | undefined;
  const context: TabContext = {
    session,
    attempt: (request) => {
      request.catch((error: Error) => {
        setText(problem, error.message);
        clearTimeout(forgetting);
        forgetting = setTimeout(() => setText(problem, ""), PROBLEM_MS);
      });
    },
    talkTo: (user) => {
      view.open("chat");
      chat.talkTo(user);
    },
  };
  const [people, chat, tasks, wire] = [peopleTab(context), chatTab(context), tasksTab(context), strip(session)];
  const view = tabs(
    id,
    [
      { name: "people", label: "People", icon: "people", element: people.element },
      { name: "chat", label: "Chat", icon: "chat", element: chat.element },
      { name: "tasks", label: "Tasks", icon: "tasks", element: tasks.element },
    ],
    (name) => chat.show(name === "chat"),
  );
  const bell = document.createElement("tidings-bell");
  bell.connection = session.client();
  bell.addEventListener("tidings-open", (event) => {
    event.preventDefault();
    bell.open = false;
    follow((event as CustomEvent<Notification>).detail);
  });

  function follow({ notification_type, data }: Notification): void {
    if (notification_type === "new_message") context.talkTo(userOf(data.sender_id as number));
    else view.open(data.task_id ? "tasks" : "people");
  }

  function draw(): void {
    const client = session.client();
    if (bell.connection !== client) bell.connection = client;
    for (const part of [people, chat, tasks, wire]) part.draw();
    const { unreadCount, byType } = client.getSnapshot();
    const { invites, requests } = session.world();
    const pending = invites.filter(({ status, receiver }) => status === "pending" && receiver.id === session.me.id);
    view.badge("people", pending.length + requests.length);
    view.badge("chat", byType.new_message ?? 0);
    onUnread(unreadCount);
  }

  session.subscribe(draw);
  view.open("people");
  draw();
  // Deadlines are counted down.
  const ticking = setInterval(tasks.draw, 1_000);
  const header = h("header", { class: "pane-head" }, whoIsThere(session.me, enter), bell);
  return {
    parts: [header, view.bar, ...view.panels, problem, wire.element],
    close: () => {
      clearInterval(ticking);
      clearTimeout(forgetting);
      chat.close();
      session.close();
    },
  };
}

function whoIsThere(me: UserRef, enter: (user: UserRef | null) => void): HTMLElement {
  const name = h("h2", {}, shown(me));
  const others = strangers();
  if (others.length === 0)
    return h(
      "div",
      { class: "me" },
      avatar(me),
      name,
      button("quiet", () => enter(null), "Sign out"),
    );
  const user = select("Signed in as", [
    ...others.map((each) => [each.username, shown(each)] as const),
    ["", "Sign out"] as const,
  ]);
  user.value = me.username;
  user.addEventListener("change", () => enter(others.find(({ username }) => username === user.value) ?? null));
  name.classList.add("hidden");
  return h("div", { class: "me" }, avatar(me), name, h("span", { class: "me-as" }, user));
}
