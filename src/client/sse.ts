/**
 * The stream over server-sent events, read with fetch: so the token is a header, the status can be seen, and the client
 * decides about reconnecting. `parseStream` follows the event-stream grammar [WHATWG HTML 9.2.6].
 */
import type { Platform } from "./platform.ts";
import { credentials, statusToCode } from "./rest.ts";
import { parseFrame, type Sink, type Transport } from "./transport.ts";

export interface StreamEvent {
  data?: string;
  id?: string;
  /** Milliseconds to wait before a reconnect. */
  retry?: number;
}

/** Takes text in any pieces and gives each whole event; an event without data is given too, for its id or retry. */
export function parseStream(give: (event: StreamEvent) => void): (text: string) => void {
  let rest = "";
  let event: StreamEvent = {};

  function line(text: string): void {
    if (!text) {
      give(event);
      event = {};
      return;
    }
    const [, field, value = ""] = /^(\w*):? ?(.*)/s.exec(text)!;
    if (field === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
    else if (field === "id") event.id = value;
    else if (field === "retry") event.retry = Number(value) || 0;
  }

  return (text) => {
    // A CR at the very end may be half of a CRLF: it waits for the next piece.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    lines.forEach(line);
  };
}

/** Opens the stream. Reports through `sink`, also when it is refused. */
export function openSse(
  platform: Platform,
  address: string,
  token: string | undefined,
  cursor: number | undefined,
  sink: Sink,
): Transport {
  const abort = new AbortController();
  let waitMs = 0;

  const feed = parseStream(({ data, id, retry }) => {
    waitMs = retry ?? waitMs;
    // An id alone passes an entry by; a data field has its id inside.
    sink.frame(data === undefined && id ? { type: "cursor", id: Number(id) } : parseFrame(data));
  });

  /** Gives the code the stream ended with. */
  async function read(): Promise<number> {
    const auth = credentials(token);
    auth.headers.accept = "text/event-stream";
    if (cursor !== undefined) auth.headers["last-event-id"] = `${cursor}`;
    const answer = await platform.fetch(address, { ...auth, signal: abort.signal, cache: "no-store" });
    // A page of some proxy's is no stream, whatever its status.
    if (answer.status !== 200 || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
      waitMs = Number(answer.headers.get("retry-after")) * 1000 || 0;
      return statusToCode(answer.status);
    }
    const reader = answer.body!.getReader();
    const decoder = new TextDecoder();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 0;
      feed(decoder.decode(value, { stream: true }));
    }
  }

  read()
    .catch(() => 0)
    .then((code) => sink.closed(code, waitMs));

  return { kind: "sse", send: () => {}, close: () => abort.abort() };
}
