/** Programs that tests run where they are installed: servers, proxies, load. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The program's path; undefined where it is not installed. Debian keeps some in folders out of an ordinary user's PATH: `more`. */
export function findProgram(name: string, more: readonly string[] = ["/usr/sbin"]): string | undefined {
  return [...(process.env.PATH ?? "").split(delimiter), ...more].map((folder) => join(folder, name)).find(existsSync);
}
