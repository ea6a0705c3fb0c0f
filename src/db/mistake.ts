/** Which errors of a connection trying again does not cure: what Postgres or TLS refuses, and our own of the code "configuration". */
import { describe, isMistake, TidingsError } from "../errors.ts";

/** Authorization, password, no such database, privilege; what TLS says of a certificate; an address that is none. */
const PERMANENT =
  /^(28000|28P01|3D000|42501|SASL_SIGNATURE_MISMATCH|ERR_TLS_CERT\w*|CERT_HAS_EXPIRED|\w*SELF_SIGNED\w*|UNABLE_TO_VERIFY\w*|ERR_INVALID_URL)$/;

/**
 * The TidingsError "configuration" to tell of such an error; undefined of any other.
 * @param told the text, given what the error says
 * @param also SQLSTATEs that are permanent here, beside those that are everywhere
 */
export function mistakeOf(
  error: unknown,
  told: (why: string) => string,
  also: readonly string[] = [],
): TidingsError | undefined {
  if (isMistake(error)) return error;
  const code = String((error as { code?: unknown }).code);
  if (!PERMANENT.test(code) && !also.includes(code)) return undefined;
  return new TidingsError("configuration", told(describe(error)), { cause: error });
}
