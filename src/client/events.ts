/**
 * The typed side of `on`: which frame a handler gets for which type, and an emitter whose handlers cannot hurt each other.
 * A producer's own types are known by declaration merging:
 * `declare module "tidings/client" { interface CustomEvents { row_saved: { row: number } } }`.
 */
import mittModule from "mitt";
import type { Frame } from "../protocol/frames.ts";
import type { CustomEvents } from "./index.ts";
import type { AnyFrame } from "./transport.ts";

// mitt's types say CommonJS, what runs is its ES module: the function itself.
const mitt = mittModule as unknown as typeof mittModule.default;

type Named<F, T extends string> = F extends { type: infer Types } ? (T extends Types ? F & { type: T } : never) : never;

/** The frame of a type: a known one, a declared one, or an object with that type. */
export type EventOf<T extends string> = T extends "*"
  ? AnyFrame
  : T extends Frame["type"]
    ? Named<Frame, T>
    : T extends keyof CustomEvents
      ? CustomEvents[T] & { type: T; id?: number }
      : { type: T; id?: number } & Record<string, unknown>;

/** Types to complete while typing; any other string will do too. */
export type EventName = Frame["type"] | keyof CustomEvents | "*" | (string & {});

export interface Events {
  on<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): () => void;
  emit(frame: AnyFrame): void;
}

export function events(): Events {
  const emitter = mitt<Record<string, AnyFrame>>();

  return {
    on: (type, handler) => {
      // One handler's error must not keep the frame from the others: it is thrown on its own.
      // mitt hands `*` the type first, and the frame second.
      const guarded = (first: unknown, frame = first): void => {
        try {
          handler(frame as never);
        } catch (error) {
          queueMicrotask(() => {
            throw error;
          });
        }
      };
      emitter.on(type, guarded);
      return () => emitter.off(type, guarded);
    },
    emit: (frame) => emitter.emit(frame.type, frame),
  };
}
