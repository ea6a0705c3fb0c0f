/**
 * A real nginx in front of servers under test, a process of its own under the current user, with the very directives
 * that README.md tells operators to write. Whatever a site changes about them, it names.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { findProgram } from "./program.ts";

/** One port of nginx. */
export interface Site {
  /** Where it passes requests on to. */
  readonly upstream: string;
  /** Directives added to its `server`. */
  readonly server?: string;
  /** Texts of the README's directives to replace; each must be there exactly once. */
  readonly replace?: Readonly<Record<string, string>>;
}

export interface Nginx<Name extends string> {
  /** Of each site: `http://127.0.0.1:PORT`. */
  readonly urls: Readonly<Record<Name, string>>;
  stop(): Promise<void>;
}

/** nginx's path; undefined where it is not installed. */
export const NGINX: string | undefined = findProgram("nginx");

/** What README.md says to put into `http` (the map) and into `server` (the rest). */
export function documented(): { http: string; server: string } {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, block = ""] = /^```nginx\n([\s\S]*?)^```/m.exec(readme) ?? [];
  const [, http, server] = /^(map [\s\S]*?)^(location [\s\S]*)$/m.exec(block) ?? [];
  if (!http || !server) throw new Error("README.md has no nginx block with a map and then a location");
  return { http, server };
}

/** Starts nginx with these sites, and resolves once every one of them is listening. */
export async function nginx<Name extends string>(named: Record<Name, Site>): Promise<Nginx<Name>> {
  const sites: Site[] = Object.values(named);
  const prefix = await mkdtemp(join(tmpdir(), "tidings-nginx-"));
  const ports = await freePorts(sites.length);
  const file = join(prefix, "nginx.conf");
  await writeFile(file, configuration(prefix, sites, ports));
  const child = spawn(NGINX!, ["-p", prefix, "-c", file, "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const exited = new Promise<void>((resolve) => child.on("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await exited;
    await rm(prefix, { recursive: true, force: true });
  };
  try {
    await Promise.race([
      Promise.all(ports.map((port) => eventually(() => isListening(port)))),
      exited.then(() => Promise.reject(new Error(`nginx did not start: ${said}`))),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  const urls = Object.keys(named).map((name, at) => [name, `http://127.0.0.1:${ports[at]}`]);
  return { urls: Object.fromEntries(urls), stop };
}

/** Files go below the prefix alone: the package's own paths belong to root. */
function configuration(prefix: string, sites: readonly Site[], ports: readonly number[]): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`);
  // Only root may say who the workers are; they would be nobody, who cannot enter the prefix.
  const user = process.getuid?.() === 0 ? `user ${userInfo().username};` : "";
  return `${user}
    daemon off; worker_processes 1; pid ${join(prefix, "nginx.pid")}; error_log stderr;
    events { worker_connections 256; }
    http {
      access_log off; ${temporary.join(" ")}
      ${documented().http}
      ${sites.map((site, at) => `server { listen 127.0.0.1:${ports[at]}; ${site.server ?? ""}\n${directives(site)} }`).join("\n")}
    }\n`;
}

function directives({ upstream, replace = {} }: Site): string {
  let text = documented().server;
  for (const [from, to] of Object.entries({ "http://127.0.0.1:8000": upstream, ...replace })) {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`README.md's nginx block has ${parts.length - 1} times: ${from}`);
    text = parts.join(to);
  }
  return text;
}

/** Free ports of the loopback. Held all at once, so that they differ, and then let go. */
export async function freePorts(count: number): Promise<number[]> {
  const held = await Promise.all(
    Array.from({ length: count }, async (): Promise<Server> => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = held.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
