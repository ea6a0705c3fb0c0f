/** `/metrics` for Prometheus, and the duration of every request by route. */
import { Hono, type MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { describeRoute } from "hono-openapi";
import type { Gate } from "./gate.ts";

export interface MetricsSource {
  render(): Promise<string>;
  readonly contentType: string;
}

export interface HttpMeter {
  http(method: string, route: string, status: number, seconds: number): void;
}

/** Scopes of a service token that may look at the operators' routes. */
export const OPERATOR_SCOPES: readonly string[] = ["metrics", "publish"];

/** @param gate null: open to everybody (the embedded database) */
export function metricsRoutes(metrics: MetricsSource, gate: Gate | null): Hono {
  const app = new Hono();
  if (gate) app.use("/metrics", gate.scope(...OPERATOR_SCOPES));
  app.get(
    "/metrics",
    describeRoute({ summary: "Prometheus metrics", tags: ["operations"], responses: { 200: { description: "Text" } } }),
    async (c) => c.body(await metrics.render(), 200, { "content-type": metrics.contentType }),
  );
  return app;
}

/** Measures until the answer's head; a stream's own length is not a request's duration. */
export function measured(meter: HttpMeter): MiddlewareHandler {
  return async (c, next) => {
    const began = performance.now();
    await next();
    meter.http(c.req.method, routePath(c, -1), c.res.status, (performance.now() - began) / 1_000);
  };
}
