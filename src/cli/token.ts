/** `tidings token USER`: a signed token for a user of this installation, on standard output. */
import process from "node:process";
import { signToken } from "../auth/token.ts";
import { readConfig } from "../config.ts";
import { TidingsError } from "../errors.ts";
import { type Command, UsageError } from "./command.ts";

export const command: Command = {
  usage: "USER [--ttl SECONDS] [--scope SCOPE]",
  about:
    "Prints a token for USER (the user id), signed with JWT_SECRET or, on the embedded database, with its kept secret.",
  options: {
    ttl: { value: "SECONDS", help: "how long it is valid; 86400" },
    scope: { value: "SCOPE", help: "scopes of a service token, for example publish" },
  },
  async run(input) {
    const [user, ...more] = input.words;
    if (!user || more.length > 0) throw new UsageError("it takes one user id.");
    const ttl = input.whole("ttl", 1, 315_360_000) ?? 86_400;
    process.stdout.write(`${await tokenFor(user, ttl, input.text("scope"))}\n`);
    return 0;
  },
};

/**
 * Signs a token with the secret of this installation.
 * @throws TidingsError "configuration" where there is none
 */
export async function tokenFor(user: string, ttl: number, scope?: string): Promise<string> {
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
