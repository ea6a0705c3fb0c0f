/**
 * The one tree of errors. `code` is stable and for programs, the message is for people and says what to do next,
 * `cause` keeps what happened below. Rendered in three places only: http/problem.ts, the frame `error`, the command line.
 */

export type ErrorCode =
  | "bad_request"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "conflict"
  | "too_large"
  | "invalid"
  | "rate_limited"
  | "too_many_streams"
  | "unavailable"
  | "configuration"
  | "database"
  | "internal";

export class TidingsError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "TidingsError";
    this.code = code;
  }
}

/** Whether it is what somebody has to mend first: trying again does not cure it. */
export const isMistake = (error: unknown): error is TidingsError =>
  error instanceof TidingsError && error.code === "configuration";

/** The message of anything thrown, for logs; never for clients. */
export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
