/** Streams that a page opens with what the browser has of its own, and what they have received, read from outside. */
import type { Page } from "playwright-core";
import type { Frame } from "../helpers/streams.ts";

export interface Received {
  readonly frames: Frame[];
  /** `lastEventId` of each frame, on an EventSource. */
  readonly ids: string[];
  readonly opens: number;
  readonly errors: number;
  /** The close code, on a WebSocket. */
  readonly code: number | undefined;
  readonly protocol: string;
  readonly readyState: number;
}

declare global {
  interface Window {
    stream: WebSocket | EventSource;
    received: { -readonly [Key in keyof Received]: Received[Key] };
  }
}

/** `new WebSocket(path, protocols)` in the page. */
export async function openSocket(page: Page, path: string, protocols?: string[]): Promise<void> {
  await page.evaluate(
    ([path, protocols]) => {
      const socket = new WebSocket(new URL(path, location.href.replace("http", "ws")), protocols);
      const received = { frames: [], ids: [], opens: 0, errors: 0, code: undefined, protocol: "", readyState: 0 };
      Object.assign(window, { stream: socket, received });
      socket.onopen = () => {
        window.received.opens += 1;
        window.received.protocol = socket.protocol;
      };
      socket.onmessage = ({ data }) => window.received.frames.push(JSON.parse(data));
      socket.onclose = ({ code }) => {
        window.received.code = code;
      };
    },
    [path, protocols] as const,
  );
}

/** `new EventSource(path)` in the page. */
export async function openEventSource(page: Page, path: string): Promise<void> {
  await page.evaluate((path) => {
    const source = new EventSource(path);
    const received = { frames: [], ids: [], opens: 0, errors: 0, code: undefined, protocol: "", readyState: 0 };
    Object.assign(window, { stream: source, received });
    source.onopen = () => {
      window.received.opens += 1;
    };
    source.onerror = () => {
      window.received.errors += 1;
    };
    source.onmessage = ({ data, lastEventId }) => {
      window.received.frames.push(JSON.parse(data));
      window.received.ids.push(lastEventId);
    };
  }, path);
}

export const received = (page: Page): Promise<Received> =>
  page.evaluate(() => ({ ...window.received, readyState: window.stream.readyState }));

/** The ids of the stored entries that came, in order, one for each frame. */
export const storedIds = (frames: readonly Frame[]): number[] =>
  frames.flatMap(({ type, id }) => (type === "notification" ? [id!] : []));
