/**
 * The one way the embedded Postgres says no. Every message ends with the way out: another Postgres in DATABASE_URL.
 */
import { TidingsError } from "../errors.ts";

/** An error with the code `configuration`; `reason` is one sentence without its full stop. */
export function refusal(reason: string, cause?: unknown): TidingsError {
  const way = "set DATABASE_URL to a Postgres 15 or newer server to do without the embedded one";
  return new TidingsError("configuration", `${reason}; ${way}`, cause === undefined ? undefined : { cause });
}
