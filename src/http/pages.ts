/**
 * What browsers are served: the bell at `/bell.js`, and where there is a reference domain the demo page at `/` with its
 * script, style and, on the embedded database only, tokens for the demo users. Files come from the build, are kept in
 * memory, and are asked about again by their ETag on each use, so that a new version is seen at once.
 * Refuses tokens to pages of elsewhere, and to names that merely resolve to this machine (DNS rebinding).
 */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { describeRoute } from "hono-openapi";
import { z } from "zod";
import { type OriginPolicy, originAllowed } from "../auth/origin.ts";
import { demoPage } from "../demo/html.ts";
import { DEMO_USERS } from "../demo/users.ts";
import { TidingsError } from "../errors.ts";
import { check } from "./schema.ts";

/** Reads a file of the build; null where it was not built. */
export type ReadAsset = (name: string) => Promise<Uint8Array<ArrayBuffer> | null>;

export interface PageServices {
  readonly asset: ReadAsset;
  /** Null without the reference domain: then there is no page. */
  readonly demo: Demo | null;
}

export interface Demo {
  /** Signs a token for a demo user; null on a database that is not the embedded one. */
  readonly issue: ((userId: number) => Promise<string>) | null;
  readonly origins: OriginPolicy;
}

const POLICY = [
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: https:",
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
].join("; ");
const SCRIPT = "text/javascript; charset=utf-8";
const STYLE = "text/css; charset=utf-8";

interface Served {
  readonly body: Uint8Array<ArrayBuffer> | string;
  readonly etag: string;
}

export function pageRoutes({ asset, demo }: PageServices): Hono {
  const app = new Hono();
  const served = files(asset);
  // a page of any origin may load the bell: a module script is fetched with CORS
  const open = { "access-control-allow-origin": "*" };
  app.get("/bell.js", hidden, async (c) => answer(c, await served("bell.js"), SCRIPT, open));
  if (!demo) return app;
  const page = served.of("/", demoPage(demo.issue !== null));
  app.get("/", hidden, async (c) =>
    answer(c, await page, "text/html; charset=utf-8", { "content-security-policy": POLICY }),
  );
  app.get("/demo.js", hidden, async (c) => answer(c, await served("demo.js"), SCRIPT));
  app.get("/demo.css", hidden, async (c) => answer(c, await served("demo.css"), STYLE));
  if (demo.issue) app.route("/", tokenRoute(demo.issue, demo.origins));
  return app;
}

/** Not part of the API, and so not of its document. */
const hidden = describeRoute({ hide: true });

function files(asset: ReadAsset): ((name: string) => Promise<Served>) & { of: typeof tagged } {
  const kept = new Map<string, Promise<Served>>();
  async function read(name: string): Promise<Served> {
    const bytes = await asset(name);
    if (bytes) return tagged(name, bytes);
    kept.delete(name);
    throw new TidingsError("unavailable", `dist/${name} is not there: build it with \`npm run build\`.`);
  }
  const served = (name: string): Promise<Served> => {
    const file = kept.get(name) ?? read(name);
    kept.set(name, file);
    return file;
  };
  return Object.assign(served, { of: tagged });
}
