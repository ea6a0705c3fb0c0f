/** The page at `/`, clicked through as a visitor would: every part of its story, on both sizes, without one error. */
// @timeout 90
import type { Locator, Page } from "playwright-core";
import * as assert from "uvu/assert";
import { seedDemo } from "../../src/db/seed.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Instance, instance, token } from "../helpers/instance.ts";
import { violations } from "./accessible.ts";
import { browserSuite, type Chromium, type Profile, startChromium } from "./browser.ts";

const test = browserSuite("the page");
let db: TestDatabase;
let server: Instance;
let chromium: Chromium;
let profile: Profile;
let page: Page;
let one: Locator;
let two: Locator;

test.before(async () => {
  db = await database();
  await seedDemo(db.sql);
  [server, chromium] = await Promise.all([instance(db.url, { embedded: true }), startChromium()]);
});
test.after(async () => {
  await chromium?.close();
  await server?.stop();
  await db?.drop();
});
test.before.each(async () => {
  profile = await chromium.profile();
  page = await profile.open(`${server.url}/`);
  [one, two] = [page.locator("#one"), page.locator("#two")];
  for (const pane of [one, two]) await live(pane);
});
test.after.each(async () => {
  const { errors } = profile;
  await profile.close();
  assert.equal(errors, []);
});

const live = (pane: Locator): Promise<void> => pane.locator('.state[data-state="live"]').waitFor();
const click = (pane: Locator, name: string | RegExp): Promise<void> =>
  pane.getByRole("button", { name, exact: typeof name === "string" }).click();
const tab = (pane: Locator, name: string): Promise<void> => pane.getByRole("tab", { name }).click();
const line = (pane: Locator, text: string | RegExp): Locator => pane.locator(".line", { hasText: text });

test("an invite appears in the other window, is accepted there, and that is seen here", async () => {
  await click(one, "Send invite");
  await two.getByText("Ann invites you to chess").waitFor();
  await two.getByRole("tab", { name: "People 1" }).waitFor();
  await click(two, "Accept");
  await one.getByText("accepted", { exact: true }).waitFor();
  await line(two, "invite_created").waitFor();
  await line(one, "invite_status").first().waitFor();
});

test("a message is heard while it is typed and when it is sent, and reading it takes it off the badge", async () => {
  await two.getByText("online", { exact: true }).waitFor();
  await click(one.getByRole("listitem").filter({ hasText: "Ben" }), "Message");
  const write = one.getByRole("textbox", { name: "Message" });
  await write.fill("Shall we play?");
  await click(one, "Send");
  await two.getByRole("tab", { name: "Chat 1" }).click();
  await two.getByRole("group", { name: "Conversations" }).getByText("Ann").click();
  await two.getByRole("log").getByText("Shall we play?").waitFor();
  await two.getByRole("tab", { name: "Chat", exact: true }).waitFor();
  await write.fill("Tonight");
  await two.getByText("Ann is typing…").waitFor();
  await write.press("Enter");
  await two.getByRole("log").getByText("Tonight").waitFor();
  await two.getByText("Ann is typing…").waitFor({ state: "hidden" });
});

test("a task runs out before one's eyes, and the server says so to both", async () => {
  await tab(one, "Tasks");
  await tab(two, "Tasks");
  await click(one, "Add task");
  await two.getByText(/due in \d s/).waitFor();
  await two.getByText("Ann to you · overdue").waitFor();
  await line(one, "Task Overdue").waitFor();
  await line(two, "Task Overdue").waitFor();
  await two.getByRole("combobox", { name: "Status" }).selectOption("done");
  await one.locator(".task.settled").waitFor();
});

test("who was asked to be a friend can say yes, and then both see each other online", async () => {
  await two.getByRole("combobox", { name: "Signed in as" }).selectOption("cleo");
  await live(two);
  await click(one.getByRole("listitem").filter({ hasText: "Cleo" }), "Add friend");
  await two.getByText("wants to be your friend").waitFor();
  await click(two.getByRole("listitem").filter({ hasText: "wants to be your friend" }), "Accept");
  await one.getByRole("listitem").filter({ hasText: "Cleo" }).getByText("online", { exact: true }).waitFor();
  await two.getByRole("listitem").filter({ hasText: "Ann" }).getByText("online", { exact: true }).waitFor();
});

for (const way of ["WebSocket", "SSE"]) {
  test(`what a cut ${way} missed is replayed when it is back`, async () => {
    if (way === "SSE") {
      await click(two, "Use SSE");
      await live(two);
    }
    assert.is(await two.locator(".fact").first().textContent(), way);
    await click(two, "Cut");
    await two.getByText("Cut", { exact: true }).first().waitFor();
    const before = await two.locator(".fact").last().textContent();
    await click(one, "Send invite");
    await line(one, "POST").waitFor();
    await click(two, "Reconnect");
    await two.locator(".line.replayed", { hasText: "invite_created" }).waitFor();
    await two.locator(".line.replayed", { hasText: "New invite" }).waitFor();
    assert.is.not(await two.locator(".fact").last().textContent(), before);
  });
}

test("the bell opens, and following an item leads to its place in the window", async () => {
  await click(one, "Send invite");
  await click(two, /^Notifications, /);
  await two.getByRole("dialog").getByText("ann invited you to chess").first().click();
  await two.getByRole("dialog").waitFor({ state: "hidden" });
  assert.is(await two.getByRole("tab", { name: /^People/ }).getAttribute("aria-selected"), "true");
});

test("a window can be left and entered again", async () => {
  const who = two.getByRole("combobox", { name: "Signed in as" });
  await who.selectOption("Sign out");
  await two.getByText("Who is there?").waitFor();
  await click(two, "Dan");
  await live(two);
  await two.getByRole("tab", { name: "People" }).focus();
  await page.keyboard.press("ArrowRight");
  await two.getByRole("group", { name: "Conversations" }).waitFor();
});

for (const [size, viewport] of [
  ["1280", { width: 1280, height: 800 }],
  ["390", { width: 390, height: 844 }],
] as const) {
  for (const colorScheme of ["light", "dark"] as const) {
    test(`axe finds nothing to say at ${size} pixels, ${colorScheme}`, async () => {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      assert.equal(await violations(page), []);
      await click(one, /^Notifications/);
      assert.equal(await violations(page), [], "with the bell open");
      await page.keyboard.press("Escape");
      await tab(one, "Chat");
      await one.getByRole("group", { name: "Conversations" }).getByText("Ben").click();
      await one.getByRole("textbox", { name: "Message" }).waitFor();
      assert.equal(await violations(page), [], "chat");
      await tab(one, "Tasks");
      assert.equal(await violations(page), [], "tasks");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.is(wide, viewport.width, "nothing sticks out to the side");
    });
  }
}

test("on a real database the page asks for a token", async () => {
  const real = await instance(db.url);
  try {
    const page = await profile.open(`${real.url}/`);
    const window = page.locator("#one");
    await window.getByRole("textbox", { name: "Token" }).fill("not a token");
    await click(window, "Sign in");
    await window.getByText("That is no user’s token").waitFor();
    await window.getByRole("textbox", { name: "Token" }).fill(`${await token(4)}x`);
    await click(window, "Sign in");
    await window.getByText("Refused (4401)").waitFor();
    await click(window, "Sign out");
    await window.getByRole("textbox", { name: "Token" }).fill(await token(4));
    await click(window, "Sign in");
    await live(window);
    // A refused token is an error on the console, and rightly so.
    profile.errors.splice(0);
    // or it would try the stopped server again
    await page.close();
  } finally {
    await real.stop();
  }
});

test.run();
