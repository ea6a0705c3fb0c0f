/** The log: JSON lines by pino on standard error, so that standard output keeps its one line. Tokens never enter it. */
import { pino } from "pino";
import type { LogLevel } from "./config.ts";
import type { Log } from "./transport/peer.ts";

/** Header and field names whose values are never written, wherever they turn up. */
const SECRETS = [
  "token",
  "ticket",
  "authorization",
  "cookie",
  "password",
  "*.token",
  "*.ticket",
  "*.authorization",
  "*.cookie",
  "*.password",
];

/** What the service writes to; transports only warn and fail. */
export interface ServiceLog extends Log {
  /** Every request. Left out: they are not logged. */
  debug?(fields: object, text: string): void;
  info(fields: object, text: string): void;
}

export function createLog(level: LogLevel): ServiceLog {
  return pino(
    { level, base: null, redact: { paths: SECRETS, censor: "[redacted]" } },
    pino.destination({ dest: 2, sync: true }),
  );
}
