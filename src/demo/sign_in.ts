/** How a window gets its user: by name where the server hands out tokens to its demo users, else by a token to paste. */
import { h, setText } from "../client/bell/dom.ts";
import { RequestError, type UserRef } from "../client/index.ts";
import { shown } from "./describe.ts";
import { avatar, button } from "./elements.ts";
import { strangers } from "./people.ts";
import type { Session } from "./session.ts";
import { signIn } from "./session.ts";

/** A token for a demo user, from the page's own server. */
async function tokenFor({ username }: UserRef): Promise<string> {
  const answer = await fetch("demo/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user: username }),
  });
  const json = (await answer.json().catch(() => ({}))) as { token?: string; detail?: string };
  if (!json.token) throw new RequestError(answer.status, json.detail ?? "The server gave no token.");
  return json.token;
}

export const signInAs = (user: UserRef): Promise<Session> => signIn(() => tokenFor(user));

/** The card that asks who is there. @param onSession takes over when somebody is */
export function signInCard(onSession: (session: Promise<Session>) => Promise<void>): HTMLElement {
  const problem = h("p", { class: "problem", role: "alert" });
  const attempt = (session: Promise<Session>): void => {
    setText(problem, "");
    onSession(session).catch((error: Error) => setText(problem, error.message));
  };
  const choices = strangers().map((user) =>
    button("pick", () => attempt(signInAs(user)), avatar(user), h("span", {}, shown(user))),
  );
  const body = choices.length ? h("div", { class: "picks" }, ...choices) : pasteForm(attempt);
  return h("div", { class: "sign-in" }, h("p", { class: "empty-title" }, "Who is there?"), body, problem);
}

function pasteForm(attempt: (session: Promise<Session>) => void): HTMLElement {
  const input = h("input", {
    ...{ class: "field grow", type: "password", autocomplete: "off", required: true },
    ...{ "aria-label": "Token", placeholder: "Paste a token" },
  });
  const form = h(
    "form",
    { class: "composer" },
    input,
    h("button", { class: "primary" }, "Sign in"),
    h(
      "p",
      { class: "hint" },
      "Make one with ",
      h("code", {}, "tidings token USER_ID"),
      ", or take your application’s.",
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const token = input.value.trim();
    attempt(signIn(() => token));
  });
  return form;
}
