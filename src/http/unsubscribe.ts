/**
 * `/unsubscribe`: where the links in mails lead (RFC 8058). POST switches the e-mail off, without a token: the link is
 * signed. GET only shows a button that does so, because mail scanners open every link they find.
 */
import { type Context, Hono } from "hono";
import { html } from "hono/html";
import { describeRoute } from "hono-openapi";
import { TidingsError } from "../errors.ts";

/** What is asked of links; made in worker/mail_link.ts. */
export interface UnsubscribeLinks {
  /** What the link asks for, and doing it; null where the link is not ours. */
  open(query: URLSearchParams): Promise<{ readonly types: readonly string[]; apply(): Promise<void> } | null>;
}

const STYLE = `:root { color-scheme: light dark } body { font: 16px/1.5 system-ui, sans-serif; max-width: 32rem;
  margin: 4rem auto; padding: 0 1rem } button { font: inherit; padding: .5rem 1rem }`;

export function unsubscribeRoutes(links: UnsubscribeLinks): Hono {
  const app = new Hono();

  async function asked(c: Context): Promise<NonNullable<Awaited<ReturnType<UnsubscribeLinks["open"]>>>> {
    const wish = await links.open(new URL(c.req.url).searchParams);
    if (wish) return wish;
    throw new TidingsError("forbidden", "This link is not valid: open the one in the mail, whole and unchanged.");
  }

  app.get("/unsubscribe", described("Asks whether to unsubscribe"), async (c) => {
    const { types } = await asked(c);
    return page(
      c,
      html`<h1>Unsubscribe?</h1>
<p>You will get no more e-mail about: ${types.join(", ")}.</p>
<form method="post"><button>Unsubscribe</button></form>`,
    );
  });
  app.post("/unsubscribe", described("Switches the e-mail off, in one click (RFC 8058)"), async (c) => {
    const { types, apply } = await asked(c);
    await apply();
    return page(
      c,
      html`<h1>Unsubscribed</h1>
<p>You get no more e-mail about: ${types.join(", ")}. The notifications themselves stay in your inbox.</p>`,
    );
  });
  return app;
}

function described(summary: string): ReturnType<typeof describeRoute> {
  return describeRoute({
    summary,
    tags: ["preferences"],
    security: [],
    parameters: ["user", "type", "signature"].map((name) => ({ name, in: "query", schema: { type: "string" } })),
    responses: { 200: { description: "A page" }, 403: { description: "The link is not valid" } },
  });
}

function page(c: Context, body: ReturnType<typeof html>): Response | Promise<Response> {
  return c.html(
    html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>E-mail</title><style>${STYLE}</style></head><body>${body}</body></html>`,
    200,
    {
      "cache-control": "no-store",
      // the address carries the signature
      "referrer-policy": "no-referrer",
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    },
  );
}
