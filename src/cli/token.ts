/** `tidings token USER`: a signed token for a user of this installation, on standard output. */
import process from "node:process";
import { parseArgs } from "node:util";
import { signToken } from "../auth/token.ts";
import { readConfig } from "../config.ts";
import { TidingsError } from "../errors.ts";

const HELP = `Usage: tidings token USER [--ttl SECONDS] [--scope SCOPE]

Prints a token for USER (the user id), signed with JWT_SECRET or, on the embedded database, with its kept secret.

  --ttl SECONDS   how long it is valid; 86400
  --scope SCOPE   scopes of a service token, for example publish
`;

export async function run(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ttl: { type: "string", default: "86400" },
      scope: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [user, ...more] = positionals;
  const ttl = Number(values.ttl);
  if (!user || more.length > 0 || !Number.isInteger(ttl)) {
    process.stderr.write(HELP);
    return 2;
  }
  process.stdout.write(`${await tokenFor(user, ttl, values.scope)}\n`);
  return 0;
}

async function tokenFor(user: string, ttl: number, scope: string | undefined): Promise<string> {
  const config = readConfig(process.env);
  const secret = config.jwtSecret ?? (config.databaseUrl ? undefined : await kept(config.dataDir));
  if (!secret)
    throw new TidingsError(
      "configuration",
      "There is no JWT_SECRET to sign with: tokens come from the issuer of JWKS_URL.",
    );
  const claim = /^[1-9]\d{0,15}$/.test(user) ? Number(user) : user;
  const { jwtIssuer: iss, jwtAudience: aud } = config;
  return signToken(
    secret,
    { user_id: claim, ...(scope ? { scope } : {}), ...(iss ? { iss } : {}), ...(aud ? { aud } : {}) },
    ttl,
  );
}

async function kept(dir: string): Promise<string> {
  return (await import("../embedded/secret.ts")).keptSecret(dir);
}
