/** A bus under test that writes down all it is told. */
import { inspect } from "node:util";
import * as assert from "uvu/assert";
import { type Bus, type BusOptions, openBus } from "../../src/bus/bus.ts";
import type { TidingsError } from "../../src/errors.ts";

export interface RecordedBus extends Bus {
  /** Every message, in order. */
  readonly messages: string[];
  /** "up" and "down", in order. */
  readonly states: string[];
  readonly errors: Error[];
}

const opened = new Set<Bus>();

/** Opens a bus; it is not started. */
export function recordedBus(url: string, options: Partial<BusOptions> = {}): RecordedBus {
  const [messages, states, errors]: [string[], string[], Error[]] = [[], [], []];
  const bus = openBus({
    url,
    prefix: "test",
    onError: (error) => errors.push(error),
    ...options,
    onMessage(text) {
      messages.push(text);
      options.onMessage?.(text);
    },
    onUp() {
      states.push("up");
      options.onUp?.();
    },
    onDown(error) {
      states.push("down");
      options.onDown?.(error);
    },
  });
  opened.add(bus);
  // `up` is to stay a getter.
  return Object.defineProperties({ messages, states, errors } as RecordedBus, Object.getOwnPropertyDescriptors(bus));
}

/** Opens and starts a bus. */
export async function startedBus(url: string, options: Partial<BusOptions> = {}): Promise<RecordedBus> {
  const bus = recordedBus(url, options);
  await bus.start();
  return bus;
}

/**
 * What `start()` is rejected with: a mistake, which is no outage, and holds none of the secrets however it is looked at.
 */
export async function refusal(
  url: string,
  { secrets = [], ...options }: Partial<BusOptions> & { secrets?: readonly string[] } = {},
): Promise<TidingsError> {
  // What is no mistake would be tried again for ever.
  let outage: TidingsError | undefined;
  const onError = (error: Error): void => {
    if ((error as TidingsError).code === "configuration") return;
    outage ??= error as TidingsError;
    void bus.stop();
  };
  const bus = recordedBus(url, { ...options, onError });
  const reason: TidingsError = await bus.start().then(
    () => assert.unreachable("it should have been refused"),
    (reason) => reason,
  );
  const error = outage ?? reason;
  assert.is(error.code, "configuration", error.message);
  const shown = [error.message, error.stack, JSON.stringify(error), inspect(error)].join();
  for (const secret of secrets) {
    for (const text of [secret, encodeURIComponent(secret)]) assert.not.ok(shown.includes(text), error.message);
  }
  assert.equal(bus.states, [], "a mistake is no outage");
  assert.is(bus.up, false);
  return error;
}

/** Stops every bus that was opened. For `after.each`. */
export async function stopBuses(): Promise<void> {
  await Promise.all([...opened].map((bus) => bus.stop()));
  opened.clear();
}
