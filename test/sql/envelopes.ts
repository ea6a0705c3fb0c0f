/** What a transaction announced, as every instance hears it: the envelopes on the channel `tidings`, by group. */
import { type Envelope, parseEnvelopes } from "../../src/protocol/envelope.ts";
import type { TestDatabase } from "../helpers/database.ts";
import { eventually } from "../helpers/eventually.ts";

/** A frame as a stream would send it, with the notification of an entry beside its event. */
export interface Heard {
  group: string;
  id?: number | undefined;
  event?: Record<string, unknown> | undefined;
  notification?: Record<string, unknown> | undefined;
}

export interface Ear {
  /** Runs `work` and returns what it announced to users and rooms, in order. */
  hear(work: () => Promise<unknown>): Promise<Heard[]>;
  /** The raw texts heard by the last `hear`. */
  texts(): string[];
}

function heard(envelope: Envelope): Heard {
  if (envelope.type !== "notify") return { group: envelope.group, event: { ...envelope } };
  const { group, id, payload } = envelope;
  if (id === undefined) return { group, event: payload };
  return { group, id, event: payload?.event as Heard["event"], notification: payload?.notification as Heard["event"] };
}

export async function listen(db: TestDatabase): Promise<Ear> {
  const sql = db.connect({ max: 2 });
  let texts: string[] = [];
  await sql.listen("tidings", (text) => void texts.push(text));
  let mark = 0;
  /** Waits until everything that was committed before has been heard: the channel is in commit order. */
  const settle = async (): Promise<void> => {
    const end = `end ${++mark}`;
    await sql`select pg_notify('tidings', ${end})`;
    await eventually(() => texts.includes(end));
    texts = texts.filter((text) => text !== end);
  };
  return {
    texts: () => texts,
    async hear(work) {
      await settle();
      texts = [];
      await work();
      await settle();
      return texts.flatMap(parseEnvelopes).map(heard);
    },
  };
}
