/**
 * One connection per browser: a Web Lock elects the leader among the tabs of one user, a BroadcastChannel carries its
 * frames to the others, for which it is a transport like any other. When the leader goes, the lock falls to the next in
 * line, which goes on at the last cursor it saw; a leader that is frozen is robbed of the lock.
 * For a tab that is behind, the leader opens its stream anew at that tab's cursor; the others drop what they have.
 */
import type { ReadyData } from "../protocol/frames.ts";
import type { State } from "./machine.ts";
import type { Platform } from "./platform.ts";
import type { AnyFrame, Sink, Transport } from "./transport.ts";

type Message =
  | { k: "hello"; from: string; cursor: number | undefined }
  | { k: "frame"; frame: AnyFrame; to?: string }
  | { k: "alive"; to: string }
  | { k: "lost" };

export interface TabsOptions {
  platform: Platform;
  /** The same for all who may share: server, user, filter. */
  key: string;
  cursor(): number | undefined;
  /** This tab has become the leader, or is it no more: its transport has to be opened anew. */
  onTurn(): void;
  /** Leader: another tab has nothing after `cursor`, which this one has passed. */
  onRewind(cursor: number): void;
}

export interface Tabs {
  leading(): boolean;
  /** Stands in line for the lead. */
  join(): void;
  /** Gives up the lead, or the place in line. */
  leave(): void;
  /** Takes the lead from a tab that gives no sign of life. */
  rob(): void;
  /** The transport of a tab that does not lead. */
  open(sink: Sink): Transport;
  /** Leader: a frame has come, raw. */
  frame(frame: AnyFrame): void;
  /** Leader: the state of its connection changed. */
  changed(state: State): void;
  close(): void;
}

function isBehind({ last_event_id, resume }: ReadyData, cursor = Infinity): boolean {
  return last_event_id > cursor && resume !== "reset";
}

/** Needs `locks` and `BroadcastChannel` of the platform. */
export function tabs({ platform, key, cursor, onTurn, onRewind }: TabsOptions): Tabs {
  const id = `${Math.random()}`;
  const channel = new platform.BroadcastChannel!(key);
  let ready: AnyFrame | undefined;
  let leading = false;
  let waiting: AbortController | undefined;
  let release: (() => void) | undefined;
  let hear: ((message: Message) => void) | undefined;

  const post = (message: Message): void => channel.postMessage(message);

  function lead(): Promise<void> | undefined {
    if (!waiting) return undefined;
    leading = true;
    return new Promise((resolve) => {
      release = resolve;
      onTurn();
    });
  }

  function ask(steal: boolean): void {
    waiting?.abort();
    const own = new AbortController();
    waiting = own;
    const options = steal ? { steal } : { signal: own.signal };
    platform.locks!.request(key, options, lead).catch(() => {
      if (waiting !== own) return;
      // Robbed while leading: back into the line. Refused without ever leading: locks do not work here, so each for itself.
      const robbed = leading;
      leading = !robbed;
      ready = undefined;
      if (robbed) ask(false);
      onTurn();
    });
  }

  function leave(): void {
    waiting?.abort();
    waiting = undefined;
    leading = false;
    ready = undefined;
    release?.();
    release = undefined;
  }

  /** A leader's answer to a tab that is new or behind. */
  function welcome(from: string, at: number | undefined): void {
    if (!ready) {
      post({ k: "alive", to: from });
      return;
    }
    const here = cursor() ?? 0;
    const data = { ...(ready as { data: object }).data, last_event_id: here, resume: "live" };
    post({ k: "frame", frame: { ...ready, data } as AnyFrame, to: from });
    if (at !== undefined && at < here) onRewind(at);
  }

  channel.onmessage = ({ data }: MessageEvent<Message>) => {
    if ("to" in data && data.to !== undefined && data.to !== id) return;
    if (data.k !== "hello") hear?.(data);
    else if (leading) welcome(data.from, data.cursor);
  };

  function open(sink: Sink): Transport {
    const hello = (): void => post({ k: "hello", from: id, cursor: cursor() });
    let welcomed = false;
    hear = (message) => {
      if (message.k === "alive") sink.frame();
      else if (message.k === "lost") sink.closed(1012);
      else if (message.k === "frame") {
        const { frame, to } = message;
        // A stream that began beyond this tab's cursor is none for it: it asks, and the leader goes back.
        const behind = frame.type === "ready" && isBehind(frame.data as ReadyData, cursor());
        welcomed ||= frame.type === "ready" && !behind;
        if (behind && !to) hello();
        else if (welcomed && !behind) sink.frame(frame);
      }
    };
    const own = hear;
    hello();
    return {
      kind: "tab",
      send: hello,
      close: () => {
        if (hear === own) hear = undefined;
      },
    };
  }

  return {
    leading: () => leading,
    join: () => {
      if (!waiting) ask(false);
    },
    leave,
    rob: () => ask(true),
    open,
    frame: (frame) => {
      if (!leading) return;
      if (frame.type === "ready") ready = frame;
      post({ k: "frame", frame });
    },
    changed: (state) => {
      if (!leading || !["waiting", "paused", "failed"].includes(state)) return;
      ready = undefined;
      post({ k: "lost" });
    },
    close: () => {
      if (leading) post({ k: "lost" });
      leave();
      channel.close();
    },
  };
}
