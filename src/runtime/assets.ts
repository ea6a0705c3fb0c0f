/**
 * The files browsers are served, as the build left them in dist/, whether this runs from there or from the sources.
 * Named by the routes, never by a request.
 */
import { readFile } from "node:fs/promises";

const DIST = new URL(import.meta.url.endsWith(".ts") ? "../../dist/" : "../", import.meta.url);

/** The bytes of a file of the build, such as `bell.js`; null where it was not built. */
export async function readAsset(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    return new Uint8Array(await readFile(new URL(name, DIST)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
