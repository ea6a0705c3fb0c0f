/**
 * Makes the README's picture, `test/browser/page.png`: `node --import tsx test/browser/screenshot.ts`. Starts a server
 * on an embedded database of its own, plays a short scene in both windows, and leaves nothing else behind.
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Locator, Page } from "playwright-core";
import { tidings } from "../helpers/cli.ts";
import { startChromium } from "./browser.ts";

const PICTURE = fileURLToPath(new URL("page.png", import.meta.url));

async function say(pane: Locator, text: string): Promise<void> {
  const field = pane.getByRole("textbox", { name: "Message" });
  await field.fill(text);
  await field.press("Enter");
  await pane.getByRole("log").getByText(text).waitFor();
}

async function play(page: Page): Promise<void> {
  const [one, two] = [page.locator("#one"), page.locator("#two")];
  for (const pane of [one, two]) await pane.locator('.state[data-state="live"]').waitFor();
  await one.getByRole("button", { name: "Send invite" }).click();
  await two.getByRole("button", { name: "Accept" }).click();
  await one.getByText("accepted", { exact: true }).waitFor();
  for (const [pane, other] of [
    [one, "Ben"],
    [two, "Ann"],
  ] as const) {
    await pane
      .getByRole("listitem")
      .filter({ has: page.getByText(other, { exact: true }) })
      .getByRole("button", { name: "Message" })
      .click();
    await pane.getByRole("textbox", { name: "Message" }).waitFor();
  }
  await say(one, "Up for a rematch?");
  await say(two, "Tonight at eight?");
  await two.getByRole("button", { name: "Cut" }).click();
  await say(one, "Eight it is. I’ll bring the clock");
  await one.getByRole("tab", { name: "Tasks" }).click();
  await one.getByRole("textbox", { name: "Title of the task" }).fill("Set up the board");
  await one.getByRole("button", { name: "Add task" }).click();
  await one.getByText("overdue").first().waitFor();
  await one.locator(".line", { hasText: "Task Overdue" }).waitFor();
  await two.getByRole("button", { name: "Reconnect" }).click();
  await two.locator(".line.replayed", { hasText: "Task Overdue" }).waitFor();
  await two.getByRole("log").getByText("Eight it is").waitFor();
  await one.getByRole("button", { name: /^Notifications/ }).click();
  // The pointer rests where nothing lights up, and what slides in has arrived.
  await page.mouse.move(0, 0);
  await page.waitForTimeout(1_500);
}

const folder = mkdtempSync(join(tmpdir(), "tidings-picture-"));
chmodSync(folder, 0o711);
const server = tidings(["serve"], { DATA_DIR: join(folder, "data") });
const chromium = await startChromium();
try {
  const { context, open } = await chromium.profile({ viewport: { width: 1280, height: 800 }, deviceScaleFactor: 2 });
  const page = await open(`${await server.url}/`);
  await play(page);
  await page.screenshot({ path: PICTURE });
  await context.close();
} finally {
  await chromium.close();
  server.kill("SIGTERM");
  await server.exited;
  rmSync(folder, { recursive: true, force: true });
}
