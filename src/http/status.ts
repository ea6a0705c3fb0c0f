/**
 * `/status`: a page that draws this instance's streams, rate and latency over the last five minutes. Samples are taken
 * from counters in memory; neither taking nor showing them asks the database. Guarded like /metrics.
 */
import { Hono } from "hono";
import { describeRoute } from "hono-openapi";
import { z } from "zod";
import type { Gate } from "./gate.ts";
import { OPERATOR_SCOPES } from "./metrics.ts";
import { route } from "./schema.ts";
import { STATUS_PAGE } from "./status_page.ts";

/** What is sampled. */
export interface StatusSource {
  readonly open: { readonly websocket: number; readonly sse: number };
  readonly recent: { readonly total: number; newest(most: number): number[] };
}

interface Sample {
  readonly at: number;
  readonly websocket: number;
  readonly sse: number;
  /** Entries written on the fast path, per second. */
  readonly rate: number;
  /** Milliseconds from numbering to write; null while nothing was sent. */
  readonly p50: number | null;
  readonly p99: number | null;
}

const samplesSchema = z.object({
  samples: z.array(
    z.object({
      at: z.number().int(),
      websocket: z.number().int(),
      sse: z.number().int(),
      rate: z.number(),
      p50: z.number().nullable(),
      p99: z.number().nullable(),
    }),
  ),
});

const EVERY_MS = 2_000;
const KEPT = 150;

export interface Sampler {
  start(): void;
  stop(): void;
  readonly samples: readonly Sample[];
}

export function createSampler(source: StatusSource): Sampler {
  const samples: Sample[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  let before = 0;

  function sample(): void {
    const { total } = source.recent;
    const values = source.recent.newest(total - before);
    samples.push({
      at: Date.now(),
      ...source.open,
      rate: (total - before) / (EVERY_MS / 1_000),
      p50: values[Math.floor(values.length / 2)] ?? null,
      p99: values[Math.floor(values.length * 0.99)] ?? null,
    });
    before = total;
    if (samples.length > KEPT) samples.shift();
  }

  return {
    start: () => {
      timer ??= setInterval(sample, EVERY_MS);
    },
    stop: () => clearInterval(timer),
    samples,
  };
}

/** @param gate null: open to everybody (the embedded database) */
export function statusRoutes(sampler: Sampler, gate: Gate | null): Hono {
  const app = new Hono();
  if (gate) app.use("/status/*", gate.scope(...OPERATOR_SCOPES));
  const page = describeRoute({
    summary: "A page that draws this instance's streams, rate and latency",
    tags: ["operations"],
    responses: { 200: { description: "A page" } },
  });
  app.get("/status", page, (c) =>
    c.html(STATUS_PAGE, 200, {
      "content-security-policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    }),
  );
  app.get("/status/samples", route("What /status draws", "operations", 200, samplesSchema), (c) =>
    c.json({ samples: sampler.samples }),
  );
  return app;
}
