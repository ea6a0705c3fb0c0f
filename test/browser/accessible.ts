/** What axe-core finds wrong in a page, shadow roots included, as short lines. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** One line for each violation and element. Animations are waited for: half-faded text has little contrast. */
export async function violations(page: Page): Promise<string[]> {
  // An animation that is about to begin is not among those that can be waited for.
  await page.waitForTimeout(500);
  // Evaluated, not added as a script: the page's policy lets none in.
  await page.evaluate(AXE);
  await page.evaluate(() =>
    Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {}))),
  );
  const result = (await page.evaluate("axe.run()")) as AxeResults;
  return result.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`),
  );
}
