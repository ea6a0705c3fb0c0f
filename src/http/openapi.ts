/**
 * `/openapi.json`: OpenAPI 3.1, made from the schemas that validate the requests, once per process; and `/docs`, a page
 * that draws it and asks nothing of the internet.
 */
import { Hono } from "hono";
import { describeRoute, generateSpecs } from "hono-openapi";
import { z } from "zod";
import { DOCS_PAGE } from "./docs_page.ts";
import { frameSchemas } from "./frame_schema.ts";

const DOCUMENTATION = {
  openapi: "3.1.0",
  info: {
    title: "Tidings",
    version: "0.1.0",
    description:
      "In-app notifications on Postgres. HTTP writes, streams inform: every frame of a stream is one of the schemas Frame*.",
  },
  security: [{ bearer: [] }, { cookie: [] }],
  components: {
    securitySchemes: {
      bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" },
      cookie: { type: "apiKey", in: "cookie", name: "access" },
    },
  },
};

export interface Document {
  readonly paths: Readonly<Record<string, Record<string, unknown>>>;
  readonly components: { readonly schemas: Record<string, unknown> };
}

/** @param app the whole app, to be asked when the first request comes: its routes are all there by then */
export function openApiRoutes(app: Hono): Hono {
  let made: Promise<Document> | undefined;
  const routes = new Hono();
  routes.get("/openapi.json", described("This document"), async (c) => {
    made ??= document(app);
    return c.json(await made);
  });
  routes.get("/docs", described("A page that draws this document"), (c) =>
    c.html(DOCS_PAGE, 200, {
      "content-security-policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    }),
  );
  return routes;
}

function described(summary: string): ReturnType<typeof describeRoute> {
  return describeRoute({ summary, tags: ["operations"], security: [], responses: { 200: { description: "OK" } } });
}

async function document(app: Hono): Promise<Document> {
  const spec = (await generateSpecs(app, {
    documentation: DOCUMENTATION as never,
    // /openapi.json and /bell.js are routes like any other
    excludeStaticFile: false,
  })) as unknown as Document;
  // hono-openapi's guess at what a failed validation answers; ours is the problem document under "default"
  for (const item of Object.values(spec.paths)) {
    for (const operation of Object.values(item))
      delete (operation as { responses?: Record<string, unknown> }).responses?.["400"];
  }
  const schemas: Record<string, unknown> = { ...spec.components?.schemas };
  for (const [type, schema] of Object.entries(frameSchemas)) {
    const { frame, parts } = jsonSchema(schema);
    Object.assign(schemas, parts, { [`Frame_${type}`]: frame });
  }
  return { ...spec, components: { ...spec.components, schemas } };
}

/** A schema, and those it refers to by name, which stand beside it in the document. */
function jsonSchema(schema: z.ZodType): { frame: unknown; parts: Record<string, unknown> } {
  const made = z.toJSONSchema(schema, { target: "draft-2020-12", reused: "inline" });
  const text = JSON.stringify(made).replaceAll('"#/$defs/', '"#/components/schemas/');
  const { $schema, $defs = {}, ...frame } = JSON.parse(text) as Record<string, unknown>;
  void $schema;
  return { frame, parts: $defs as Record<string, unknown> };
}
