/**
 * One stored entry on its way out. Encoded once, however many streams it goes to: the JSON of each variant
 * is built on first use and kept. Shapes: CONTRACT section 2.
 */
import type { OutFrame } from "./transport.ts";

/** What is sent of an entry, decided per stream: which frame types pass, and whether `notification` stands beside `data`. */
export interface Taste {
  /** `null`: everything passes. */
  readonly types: ReadonlySet<string> | null;
  readonly alias: boolean;
}

export class Entry {
  readonly id: number;
  readonly #event: string | null;
  readonly #eventType: string;
  readonly #notification: string | null;
  readonly #archived: boolean;
  readonly #streamed: boolean;
  readonly createdAt: number;
  readonly #cache: (readonly OutFrame[] | undefined)[] = [];

  /**
   * @param event the event object as JSON text, or null
   * @param notification the canonical notification as JSON text, or null
   * @param streamed false: the user switched this type's stream off, it is passed like a filtered entry
   * @param createdAt milliseconds since the epoch, for the delivery histogram
   */
  constructor(
    id: number,
    event: string | null,
    eventType: string,
    notification: string | null,
    archived: boolean,
    streamed: boolean,
    createdAt: number,
  ) {
    this.id = id;
    this.#event = event;
    this.#eventType = eventType;
    this.#notification = notification;
    this.#archived = archived;
    this.#streamed = streamed;
    this.createdAt = createdAt;
  }

  /** The frames of this entry for one taste, empty where all are filtered. The last one carries the id. */
  frames(taste: Taste): readonly OutFrame[] {
    const { types, alias } = taste;
    const event = this.#streamed && this.#event !== null && (!types || types.has(this.#eventType));
    const notification = this.#streamed && this.#notification !== null && (!types || types.has("notification"));
    const variant = (event ? 1 : 0) + (notification ? 2 : 0) + (alias ? 4 : 0);
    this.#cache[variant] ??= this.#encode(event, notification, alias);
    return this.#cache[variant];
  }

  #encode(event: boolean, notification: boolean, alias: boolean): readonly OutFrame[] {
    const { id } = this;
    const out: OutFrame[] = [];
    if (event) {
      const head = notification ? `{"id":${id},"more":true,` : `{"id":${id},`;
      const json = head + this.#event!.slice(1);
      out.push(notification ? { type: this.#eventType, json } : { type: this.#eventType, json, id });
    }
    if (notification) {
      const data = this.#notification!;
      const archived = this.#archived ? `,"archived":true` : "";
      const beside = alias ? `,"notification":${data}` : "";
      out.push({
        type: "notification",
        json: `{"type":"notification","id":${id}${archived},"data":${data}${beside}}`,
        id,
      });
    }
    return out;
  }
}
