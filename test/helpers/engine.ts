/**
 * A real message bus server of a test's own, without persistence, on a free loopback port that it keeps over restarts.
 * It can fail the way servers do: stop, be killed, freeze. It does not outlive the test process.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { findProgram } from "./program.ts";

export type EngineName = "redis" | "nats";

export interface Engine {
  readonly name: EngineName;
  readonly port: number;
  /** `redis://…` or `nats://…` (with TLS `rediss://…` or `tls://…`), with the user and password of `options`. */
  readonly url: string;
  /** `url` with other credentials, or none. */
  as(user?: string, password?: string): string;
  /** Starts it again, on the same port. Resolves once it is ready. */
  start(): Promise<void>;
  /** SIGTERM, or `kill -9`. Resolves once it is gone. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
  /** Half-open: connections stay, and new ones are made by the kernel, but nothing is answered. */
  freeze(): Promise<void>;
  thaw(): void;
}

export interface EngineOptions {
  readonly user?: string;
  readonly password?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** The loopback address it listens on. Default 127.0.0.1. */
  readonly host?: "127.0.0.1" | "::1";
  /** More command line for the program. */
  readonly args?: readonly string[];
  /** Files: nothing but TLS is spoken then. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  /** Clients have to show a certificate of the authority in `tls`. */
  readonly asksClients?: boolean;
}

const PROGRAMS: Readonly<Record<EngineName, string>> = { redis: "redis-server", nats: "nats-server" };
const SECURE: Readonly<Record<EngineName, string>> = { redis: "rediss", nats: "tls" };
const LOCAL = "127.0.0.1";
const READY: Readonly<Record<EngineName, RegExp>> = { redis: /Ready to accept connections/, nats: /Server is ready/ };
/** The Debian packages, for a test that says what it was skipped for. */
export const ENGINE_PACKAGES = PROGRAMS;

/** The program's path; undefined where it is not installed. */
export const engineProgram = (name: EngineName): string | undefined => findProgram(PROGRAMS[name]);

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/**
 * Below the ports that outgoing connections get: while the engine is away nobody must take its port, and a client that
 * tries it must not meet itself (TCP's simultaneous open). So is the port 10,000 above, which a Redis cluster takes too.
 */
async function quietPort(host: string): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.on("error", () => resolve(false)).listen(port, host, () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

function argumentsOf(name: EngineName, port: number, options: EngineOptions): string[] {
  const { user, password, host = LOCAL, tls, asksClients = false, args = [] } = options;
  if (name === "nats") {
    const login = user ? ["--user", user, "--pass", password!] : [];
    const secure = tls ? ["--tls", "--tlscert", tls.cert, "--tlskey", tls.key] : [];
    const asks = tls && asksClients ? ["--tlsverify", "--tlscacert", tls.ca] : [];
    return ["--addr", host, "--port", String(port), ...login, ...secure, ...asks, ...args];
  }
  const login = user ? ["--user", user, "on", `>${password}`, "~*", "&*", "+@all", "--user", "default", "off"] : [];
  const files = ["--save", "", "--appendonly", "no", "--dir", tmpdir()];
  const secret = tls && ["--tls-cert-file", tls.cert, "--tls-key-file", tls.key, "--tls-ca-cert-file", tls.ca];
  const asks = ["--tls-auth-clients", asksClients ? "yes" : "no"];
  const secure = secret && ["--port", "0", "--tls-port", String(port), ...asks, ...secret];
  return [...(secure ?? ["--port", String(port)]), "--bind", host, ...files, ...login, ...args];
}

/** Starts a server. Resolves once it is ready. */
export async function engine(name: EngineName, options: EngineOptions = {}): Promise<Engine> {
  const host = options.host ?? LOCAL;
  const port = options.port ?? (await quietPort(host));
  const address = host.includes(":") ? `[${host}]` : host;
  const as = (user = "", password = ""): string => {
    const login = user ? `${encodeURIComponent(user)}:${encodeURIComponent(password)}@` : "";
    return `${options.tls ? SECURE[name] : name}://${login}${address}:${port}`;
  };
  let child: ChildProcess | undefined;
  let gone: Promise<void> = Promise.resolve();

  async function start(): Promise<void> {
    const started = spawn(engineProgram(name)!, argumentsOf(name, port, options), {
      stdio: ["ignore", "pipe", "pipe"],
    });
    child = started;
    running.add(started);
    let said = "";
    const ready = new Promise<void>((resolve) => {
      for (const stream of [started.stdout!, started.stderr!]) {
        stream.setEncoding("utf8").on("data", (text: string) => {
          if (said.length < 100_000) said += text;
          if (READY[name].test(said)) resolve();
        });
      }
    });
    gone = new Promise((resolve) => started.on("close", () => resolve(void running.delete(started))));
    await Promise.race([ready, gone.then(() => Promise.reject(new Error(`${name} did not start: ${said}`)))]);
  }

  // Not child.kill(), which some runtimes take for the end of the child.
  const signal = (name: NodeJS.Signals): void => {
    if (child && running.has(child)) process.kill(child.pid!, name);
  };

  await start();
  return {
    name,
    port,
    url: as(options.user, options.password),
    as,
    start,
    async stop(by = "SIGTERM") {
      signal("SIGCONT");
      signal(by);
      await gone;
    },
    async freeze() {
      signal("SIGSTOP");
      // it may answer for a moment yet
      while (!execFileSync("ps", ["-o", "state=", "-p", String(child!.pid)], { encoding: "utf8" }).startsWith("T")) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    thaw: () => signal("SIGCONT"),
  };
}
