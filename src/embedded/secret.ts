/** The signing secret of an embedded installation: made once, kept in DATA_DIR, readable by its owner only. */
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Reads the secret of `dir`, making it where there is none. Of two processes at once, both get the one that was first. */
export function keptSecret(dir: string): string {
  const path = join(dir, "jwt_secret");
  const existing = read(path);
  if (existing) return existing;
  mkdirSync(dir, { recursive: true });
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, randomBytes(36).toString("base64"), { mode: 0o600 });
  try {
    linkSync(mine, path);
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  } finally {
    rmSync(mine, { force: true });
  }
  return read(path)!;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}
