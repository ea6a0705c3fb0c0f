/**
 * What browsers are served: the bell at `/bell.js`, and where there is a reference domain the demo page at `/` with its
 * script and style. Files come from the build and are kept in memory; browsers ask about them by ETag on each use, so
 * that a new version is seen at once. Nothing from elsewhere runs in the page.
 */
import { type Context, Hono } from "hono";
import { describeRoute } from "hono-openapi";
import { demoPage } from "../demo/html.ts";
import { TidingsError } from "../errors.ts";
import { type DemoTokens, demoTokenRoutes } from "./demo_tokens.ts";

/** Reads a file of the build; null where it was not built. */
export type ReadAsset = (name: string) => Promise<Uint8Array<ArrayBuffer> | null>;

export interface PageServices {
  readonly asset: ReadAsset;
  /** The demo page is there. */
  readonly demo: boolean;
  /** Hands out tokens for the demo users; null where these are nobody's to give: the page then asks for one. */
  readonly demoTokens: DemoTokens | null;
}

interface Served {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly etag: string;
}

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: https:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export function pageRoutes({ asset, demo, demoTokens }: PageServices): Hono {
  const app = new Hono();
  const load = loader(asset);
  // a page of any origin may load the bell: a module script is fetched with CORS
  serve("/bell.js", () => load("bell.js"), "text/javascript", { "access-control-allow-origin": "*" });
  if (!demo) return app;
  const page = tagged(new TextEncoder().encode(demoPage(demoTokens !== null)));
  serve("/", () => page, "text/html", { "content-security-policy": POLICY });
  serve("/demo.js", () => load("demo.js"), "text/javascript");
  serve("/demo.css", () => load("demo.css"), "text/css");
  if (demoTokens) app.route("/", demoTokenRoutes(demoTokens));
  return app;

  function serve(path: string, file: () => Promise<Served>, type: string, headers: Record<string, string> = {}): void {
    const described = describeRoute({
      summary: "A file for browsers",
      tags: ["pages"],
      security: [],
      responses: { 200: { description: type } },
    });
    app.get(path, described, async (c) =>
      answer(c, await file(), { ...headers, "content-type": `${type}; charset=utf-8` }),
    );
  }
}

/** Reads each file once; one that is missing is looked for again. */
function loader(asset: ReadAsset): (name: string) => Promise<Served> {
  const kept = new Map<string, Served>();
  return async (name) => {
    const known = kept.get(name);
    if (known) return known;
    const bytes = await asset(name);
    if (!bytes) throw new TidingsError("unavailable", `dist/${name} is not there: make it with \`npm run build\`.`);
    const file = await tagged(bytes);
    kept.set(name, file);
    return file;
  };
}

async function tagged(body: Uint8Array<ArrayBuffer>): Promise<Served> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", body)).subarray(0, 12);
  return { body, etag: `"${btoa(String.fromCharCode(...hash))}"` };
}

function answer(c: Context, { body, etag }: Served, headers: Record<string, string>): Response {
  const cached = { etag, "cache-control": "no-cache", ...headers };
  const known = c.req.header("if-none-match")?.split(",") ?? [];
  // a proxy that compresses makes the tag weak
  if (known.some((tag) => tag.trim().replace(/^W\//, "") === etag)) return c.body(null, 304, cached);
  return c.body(body, 200, cached);
}
