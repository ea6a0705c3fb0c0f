/**
 * Chromium for tests: the one that is installed, started without a screen. Where there is none, the tests of a file are
 * skipped and the reason is printed. What goes wrong in a page is collected, so that a test can insist on nothing.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { suite, type Test } from "uvu";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", process.env.CHROMIUM ?? ""];
const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  ...["--disable-component-update", "--disable-sync"],
];

export const CHROMIUM: string | undefined = PLACES.find((path) => path && existsSync(path));

/** A suite whose tests are skipped where there is no browser. */
export function browserSuite<Context>(name: string): Test<Context> {
  const real = suite<Context>(name);
  if (CHROMIUM) return real;
  console.log(`${name}: skipped, no Chromium is installed (apt-get install chromium, or set CHROMIUM to its path)`);
  const skipping = (title: string): void => real.skip(title, () => {});
  const nothing = Object.assign(() => {}, { each: () => {} });
  return Object.assign(skipping, real, { only: skipping, before: nothing, after: nothing }) as unknown as Test<Context>;
}

export interface Chromium {
  /** A profile of its own: cookies, locks and channels are shared by its pages. */
  profile(options?: BrowserContextOptions): Promise<Profile>;
  close(): Promise<void>;
}

export interface Profile {
  readonly context: BrowserContext;
  /** Errors on the console and uncaught ones, of all pages. */
  readonly errors: string[];
  /** Opens an address and waits until it is loaded. */
  open(url: string): Promise<Page>;
  close(): Promise<void>;
}

/** Sees to it that what the server serves is built from these sources. */
export function buildPages(): void {
  const setup = fileURLToPath(new URL("../../.ci/setup.mjs", import.meta.url));
  const built = spawnSync(process.execPath, [setup, "build"], { stdio: "inherit" });
  if (built.status !== 0) throw new Error("dist/ could not be built");
}

/** Starts it, and builds what its pages will be served. */
export async function startChromium(): Promise<Chromium> {
  buildPages();
  const browser = await chromium.launch({ executablePath: CHROMIUM!, args: FLAGS });
  return { profile: (options) => profile(browser, options), close: () => browser.close() };
}

async function profile(browser: Browser, options: BrowserContextOptions = {}): Promise<Profile> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(15_000);
  // The loader that runs these tests names functions by a helper that a page does not have.
  await context.addInitScript("globalThis.__name ??= (named) => named");
  const errors: string[] = [];
  context.on("console", (message) => {
    // Browsers ask for this one by themselves, of pages that name no icon.
    if (message.location().url.endsWith("/favicon.ico")) return;
    if (message.type() === "error") errors.push(`${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => errors.push(`${error.error().stack}`));
  return {
    context,
    errors,
    open: async (url) => {
      const page = await context.newPage();
      await page.goto(url);
      return page;
    },
    close: () => context.close(),
  };
}
