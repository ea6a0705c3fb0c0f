/** The reference domain with four users, anew for each test, and what its triggers announce of one statement. */
import type { Test } from "uvu";
import type { Sql } from "../../src/db/client.ts";
import { database, type TestDatabase } from "../helpers/database.ts";
import { type Ear, type Heard, listen } from "./envelopes.ts";

export interface Reference {
  readonly db: TestDatabase;
  readonly ear: Ear;
  /** One connection, which keeps its plans from statement to statement. */
  readonly session: Sql;
  /** Runs statements on it and returns what they announced. */
  run(text: string): Promise<Heard[]>;
}

/** Registers the hooks of a file. */
export function reference(test: Test): Reference {
  let db: TestDatabase;
  let ear: Ear;
  let session: Sql;

  test.before(async () => {
    db = await database();
    ear = await listen(db);
    session = db.connect({ max: 1 });
  });
  test.after(() => db.drop());
  test.before.each(async () => {
    await db.sql`truncate app."user", tidings.inbox, tidings.notification restart identity cascade`;
    await db.sql`insert into app."user" (username) values ('ann'), ('ben'), ('cleo'), ('dan')`;
  });

  return {
    get db() {
      return db;
    },
    get ear() {
      return ear;
    },
    get session() {
      return session;
    },
    run: (text) => ear.hear(() => session.unsafe(text)),
  };
}

export const to = (frames: Heard[], group: string): Heard[] => frames.filter((frame) => frame.group === group);

/** The type of each, of its event where it has one. */
export const types = (frames: Heard[]): unknown[] =>
  frames.map(({ event, notification }) => event?.type ?? notification?.notification_type);
