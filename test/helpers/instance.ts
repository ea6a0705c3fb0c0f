/**
 * One running instance of the server inside the test process, on a database of its own or a shared one, with ways to
 * make tokens and read its log.
 */
import { signToken } from "../../src/auth/token.ts";
import { type Config, readConfig } from "../../src/config.ts";
import { readAsset } from "../../src/runtime/assets.ts";
import { hmacCheck } from "../../src/runtime/hmac.ts";
import { serveNode } from "../../src/runtime/node.ts";
import { createService, type Service, type ServiceOptions } from "../../src/service.ts";

export const SECRET = "a secret for tests only, of more than 32 bytes";

export interface Instance {
  readonly url: string;
  readonly ws: string;
  readonly service: Service;
  /** Every line logged, as text. */
  readonly log: string[];
  /** `Authorization` for a user id, other claims added. */
  auth(userId: number | string, claims?: Record<string, unknown>): Promise<{ authorization: string }>;
  stop(): Promise<void>;
}

export interface InstanceOptions {
  readonly env?: Record<string, string>;
  readonly config?: Partial<Config>;
  readonly timing?: ServiceOptions["timing"];
  readonly listenUrl?: string;
  /** As if this were the embedded database: demo users and tokens for them, operators' routes open. */
  readonly embedded?: boolean;
  readonly poolSize?: number;
}

/** A token signed with the tests' secret; numbers become JSON numbers. */
export function token(userId: number | string, claims: Record<string, unknown> = {}, seconds = 3_600): Promise<string> {
  return signToken(SECRET, { user_id: userId, ...claims }, seconds);
}

/** Starts an instance on `databaseUrl`, port 0, draining at once when stopped. */
export async function instance(databaseUrl: string, options: InstanceOptions = {}): Promise<Instance> {
  const env = {
    DATABASE_URL: databaseUrl,
    JWT_SECRET: SECRET,
    DRAIN_SECONDS: "0",
    HANDSHAKES_PER_IP: "0",
    ...options.env,
  };
  const config = { ...readConfig(env), port: 0, ...options.config };
  const lines: string[] = [];
  const write = (level: string) => (fields: object, text: string) => {
    lines.push(
      `${level} ${text} ${JSON.stringify(fields, (_key, value) => (value instanceof Error ? value.message : value))}`,
    );
  };
  const service = createService({
    config,
    log: { error: write("error"), warn: write("warn"), info: write("info") },
    serve: serveNode,
    assets: readAsset,
    hmac: hmacCheck,
    database: { url: databaseUrl, listenUrl: options.listenUrl ?? databaseUrl, embedded: options.embedded ?? false },
    ...(options.timing ? { timing: options.timing } : {}),
    ...(options.poolSize ? { poolSize: options.poolSize } : {}),
  });
  const { url } = await service.start();
  return {
    url,
    ws: url.replace("http", "ws"),
    service,
    log: lines,
    auth: async (userId, claims) => ({ authorization: `Bearer ${await token(userId, claims)}` }),
    stop: () => service.stop(),
  };
}
