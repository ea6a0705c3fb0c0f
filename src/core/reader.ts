/**
 * What the machine reads from the database, as an interface: db/entries.ts implements it and folds the
 * reads of many users into one query.
 */
import type { UnreadCount } from "../protocol/frames.ts";
import type { Entry } from "./entry.ts";

/** One consistent look at a user's sequence. */
export interface Page {
  /** Newest id of the user; 0 where nothing was ever stored. */
  readonly lastId: number;
  /** Entries up to and including this id may be pruned: a cursor below it cannot be resumed. */
  readonly floorId: number;
  readonly unreadCount: number;
  /** The unread count by type as JSON text, where it was at hand: in an opening read from a cursor. */
  readonly unread: string | null;
  /** Entries after the cursor in order, at most a page. */
  readonly entries: readonly Entry[];
  /** The page was cut: more entries follow. */
  readonly more: boolean;
  /** Tokens issued at or before this second (epoch) are revoked; -Infinity where none are. */
  readonly revokedAt: number;
}

export interface Reader {
  /**
   * State and the entries after `cursor`; `null` reads the state alone. `opening`: the first read of a stream, which
   * may wait a moment for others in a storm of them. Rejects when the database cannot be asked.
   */
  read(userId: string, cursor: number | null, opening: boolean): Promise<Page>;
  /** Epoch second of the user's revocation, -Infinity where there is none; folded with the first reads of streams. */
  revokedAt(userId: string): Promise<number>;
  /** The unread count by type. */
  unread(userId: string): Promise<UnreadCount>;
  /** The heads of many users' sequences in one query, for the sweep. Users without an inbox or revocation are left out. */
  heads(userIds: readonly string[]): Promise<Map<string, Pick<Page, "lastId" | "revokedAt">>>;
  /** A transient payload that was too big to travel, as JSON text; null once it is gone. */
  parcel(id: number): Promise<string | null>;
}
