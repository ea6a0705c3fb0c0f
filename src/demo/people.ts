/** The tab of people: invites and their answers, friends and who of them is there, and those who could become friends. */
import { h, setText } from "../client/bell/dom.ts";
import type { Invite, UserRef } from "../client/index.ts";
import { shown } from "./describe.ts";
import { avatar, button, empty, fill, keyed, row, select } from "./elements.ts";
import type { Session } from "./session.ts";
import { DEMO_USERS } from "./users.ts";
import { type World, withInvite } from "./world.ts";

export interface Tab {
  readonly element: HTMLElement;
  draw(): void;
}

export interface TabContext {
  readonly session: Session;
  /** Runs a request; a refusal is shown. */
  attempt(request: Promise<unknown>): void;
  /** Turns to the conversation with somebody. */
  talkTo(user: UserRef): void;
}

const GAMES = ["chess", "go", "backgammon", "checkers"];
const INVITES_SHOWN = 4;

interface Person extends UserRef {
  relation: "friend" | "asks" | "asked" | "none";
  status?: "online" | "offline";
  requestId?: number;
}

/** Friends first, then who asks, then everybody else this page knows. */
export function peopleOf(me: UserRef, world: World, strangers: readonly UserRef[]): Person[] {
  const known: Person[] = [
    ...world.requests.map(({ id, from_user }) => ({ ...from_user, relation: "asks" as const, requestId: id })),
    ...world.friends.map(({ friend_status: status, ...friend }) => ({
      ...friend,
      relation: "friend" as const,
      status,
    })),
  ];
  const others = strangers.filter(({ id }) => id !== me.id && !known.some((person) => person.id === id));
  const rest = others.map((user): Person => ({ ...user, relation: world.asked.includes(user.id) ? "asked" : "none" }));
  return [...known, ...rest].sort((a, b) => a.id - b.id);
}

/** Whom this page can name: the demo's users, where it is the demo's database. */
export const strangers = (): readonly UserRef[] =>
  document.documentElement.dataset.tokens === "given" ? DEMO_USERS : [];

export function peopleTab(context: TabContext): Tab {
  const { session } = context;
  const invites = h("ul", { class: "rows", "aria-label": "Invites" });
  const nobody = empty("No invites yet", "Pick somebody and a game, and look at the other window.");
  const people = h("ul", { class: "rows", "aria-label": "People" });
  const { form, draw: drawForm } = inviteForm(context);
  const drawInvites = keyed<Invite>(
    invites,
    ({ id }) => id,
    row("row", (invite) => inviteRow(context, invite)),
  );
  const drawPeople = keyed<Person>(
    people,
    ({ id }) => id,
    row("row", (person) => personRow(context, person)),
  );
  const element = h("div", { class: "stack" }, form, invites, nobody, h("h3", {}, "People"), people);
  return {
    element,
    draw: () => {
      const world = session.world();
      const all = peopleOf(session.me, world, strangers());
      drawForm(all);
      drawInvites(world.invites.slice(0, INVITES_SHOWN));
      nobody.hidden = world.invites.length > 0;
      drawPeople(all);
    },
  };
}

function inviteForm({ session, attempt }: TabContext): { form: HTMLElement; draw(people: readonly Person[]): void } {
  const whom = select("Whom to invite", []);
  const game = select(
    "Game",
    GAMES.map((name) => [name, name] as const),
  );
  const submit = h("button", { class: "primary" }, "Send invite");
  const form = h("form", { class: "composer" }, h("span", {}, "Invite"), whom, h("span", {}, "to"), game, submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const sent = session.send("POST", "/api/invites", { receiver_id: Number(whom.value), game: game.value });
    attempt(sent.then((invite) => remember(session, invite as Invite)));
  });
  return {
    form,
    draw: (people) => {
      fill(
        whom,
        people.map((person) => [`${person.id}`, shown(person)] as const),
      );
      submit.disabled = people.length === 0;
    },
  };
}

function remember(session: Session, invite: Invite): void {
  session.change((world) => ({ ...world, invites: withInvite(world.invites, invite) }));
}

function inviteRow({ session, attempt }: TabContext, invite: Invite): Node[] {
  const mine = invite.sender.id === session.me.id;
  const other = mine ? invite.receiver : invite.sender;
  const verb = invite.status === "pending" ? "invites" : "invited";
  const title = mine
    ? `You invited ${shown(other)} to ${invite.game}`
    : `${shown(other)} ${verb} you to ${invite.game}`;
  const settle = (action: string, label: string, classes: string): HTMLElement =>
    button(
      classes,
      () => {
        const answer = session.send("POST", `/api/invites/${invite.id}/${action}`);
        attempt(answer.then((settled) => remember(session, settled as Invite)));
      },
      label,
    );
  const pending = mine
    ? [settle("cancel", "Cancel", "quiet")]
    : [settle("accept", "Accept", "primary"), settle("decline", "Decline", "quiet")];
  const actions =
    invite.status === "pending" ? pending : [h("span", { class: `chip ${invite.status}` }, invite.status)];
  return line(avatar(other), title, invite.status === "pending" ? "waiting for an answer" : "", actions);
}

function personRow({ session, attempt, talkTo }: TabContext, person: Person): Node[] {
  const answer = (action: string): void => {
    attempt(session.send("POST", `/api/friends/requests/${person.requestId}/${action}`).then(session.meet));
  };
  const befriend = (): void =>
    attempt(
      session
        .send("POST", "/api/friends/requests", { to: person.id })
        .then(() => session.change((world) => ({ ...world, asked: [...world.asked, person.id] }))),
    );
  const talk = button("quiet", () => talkTo(person), "Message");
  const actions = {
    friend: () => [talk],
    asks: () => [
      button("primary", () => answer("accept"), "Accept"),
      button("quiet", () => answer("decline"), "Decline"),
    ],
    asked: () => [h("span", { class: "chip pending" }, "asked"), talk],
    none: () => [button("quiet", befriend, "Add friend"), talk],
  }[person.relation]();
  const about = {
    friend: person.status ?? "",
    asks: "wants to be your friend",
    asked: "not a friend yet",
    none: "not a friend yet",
  };
  return line(avatar(person, person.status), shown(person), about[person.relation], actions);
}

/** Picture, two lines, and what can be done. */
export function line(picture: Node, title: string, about: string, actions: readonly Node[]): Node[] {
  const body = h("span", { class: "row-body" }, h("span", { class: "row-title" }, title));
  if (about) {
    const small = h("span", { class: "row-about" });
    setText(small, about);
    body.append(small);
  }
  return [picture, body, h("span", { class: "row-actions" }, ...actions)];
}
