/**
 * Who needs the server: every process that does holds the write end of one fifo. The kernel lets go of it however the
 * process ends, `kill -9` too, and the supervisor at the read end stops the server when the last hold is gone.
 * A hold says hello with one line. So the supervisor, after the end of file, can take the name away and read once
 * more: whoever came in between is heard, and nobody can come after (see SUPERVISOR in launch.ts).
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, writeSync } from "node:fs";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const HELLO = "\n";

/** Opens a fifo without waiting for the other side; null when it is not there, or nobody reads it. */
function openFifo(path: string, direction: number): number | null {
  try {
    const fd = openSync(path, direction | O_NONBLOCK | O_NOFOLLOW);
    if (fstatSync(fd).isFIFO()) return fd;
    closeSync(fd);
    return null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENXIO") return null;
    throw error;
  }
}

/** Takes a hold. Null when no supervisor would notice it: not up yet, about to stop, or dead. */
export function takeHold(path: string): number | null {
  const fd = openFifo(path, O_WRONLY);
  if (fd === null) return null;
  try {
    writeSync(fd, HELLO);
    // Still under its name after the hello: the supervisor will read the hello before it decides.
    if (lstatSync(path).ino === fstatSync(fd).ino) return fd;
  } catch {
    // EPIPE: the reader has gone; ENOENT: the name has
  }
  closeSync(fd);
  return null;
}

/** Whether anybody has a hold; `unknown` for the moment in which a hello is still unread. */
export function heldBy(path: string): "somebody" | "nobody" | "unknown" {
  const fd = openFifo(path, O_RDONLY);
  if (fd === null) return "nobody";
  try {
    if (readSync(fd, new Uint8Array(1)) === 0) return "nobody";
    const back = openFifo(path, O_WRONLY); // it was meant for the supervisor
    if (back !== null) {
      writeSync(back, HELLO);
      closeSync(back);
    }
    return "unknown";
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return "somebody";
    throw error;
  } finally {
    closeSync(fd);
  }
}
