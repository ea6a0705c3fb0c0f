/** What a child tells its parent over IPC. The parent counts from these, so a killed child's passed tests stay counted. */
export type Message =
  /** The test file is loaded. */
  | { kind: "loaded"; tests: number; skipped: number }
  /** A test or a hook begins: the deadline runs from here. */
  | { kind: "begin"; name: string }
  | { kind: "end"; name: string; result: "passed" | "failed" | "hook" }
  /** A failure that belongs to no test: a hook, an unhandled rejection, an import error. */
  | { kind: "broken"; reason: string }
  /** Everything ran; the child ends itself now. */
  | { kind: "done" };

export function send(message: Message): void {
  process.send?.(message);
}
