/**
 * The one judge of a history. The database against what the writers were told; then every stream, REST and the counts
 * against the database. Returns what is wrong, in words; nothing: the promise was kept.
 */
import type { Sql } from "../../src/db/client.ts";
import type { Follower } from "./follower.ts";
import type { Fate } from "./writer.ts";

interface Stored {
  readonly id: number;
  /** `type tag` of each of its frames. */
  readonly frames: readonly string[];
  readonly tag: string;
  readonly unread: boolean;
  readonly shown: boolean;
}

export type Sequence = readonly Stored[];

export async function storedOf(sql: Sql, user: number): Promise<Sequence> {
  const rows = await sql<
    { id: number; event: string | null; message: string | null; is_read: boolean; archived: boolean }[]
  >`
    select id, event ->> 'tag' as event, rtrim(message) as message, is_read, archived_at is not null as archived
    from tidings.notification where user_id = ${String(user)} order by id`;
  return rows.map(({ id, event, message, is_read, archived }) => ({
    id,
    frames: [...(event === null ? [] : [`moved ${event}`]), ...(message === null ? [] : [`notification ${message}`])],
    tag: (message ?? event)!,
    shown: message !== null && !archived,
    unread: message !== null && !archived && !is_read,
  }));
}

/** 1..N, and in it exactly what was committed, transactions whole and in an order that can have happened. */
export function checkStored(user: number, stored: Sequence, fates: readonly Fate[]): string[] {
  const wrong: string[] = [];
  const complain = (what: string): void => void wrong.push(`user ${user}: ${what}`);
  for (const [at, { id }] of stored.entries()) if (id !== at + 1) complain(`the entry after ${at} has the id ${id}`);
  const idOf = new Map(stored.map(({ tag, id }) => [tag, id]));
  if (idOf.size !== stored.length) complain("an entry is stored twice");
  const known = new Set<string>();
  for (const fate of fates) {
    const mine = fate.drafts.filter((draft) => draft.user === user);
    for (const draft of mine) known.add(draft.tag);
    const ids = mine.filter(({ key }) => key === undefined).map(({ tag }) => idOf.get(tag));
    const present = ids.filter((id) => id !== undefined);
    if (fate.outcome === "committed" && present.length < ids.length)
      complain(`${mine[0]!.tag} was committed and is missing`);
    if (fate.outcome === "rolled back" && present.length > 0) complain(`${mine[0]!.tag} was rolled back and is there`);
    if (present.length > 0 && present.length < ids.length) complain(`${mine[0]!.tag} is there in part`);
    if (present.some((id, at) => at > 0 && id < present[at - 1]!))
      complain(`${mine[0]!.tag} is not in the order of writing`);
    for (const { tag } of fate.undone) if (idOf.has(tag)) complain(`${tag} was undone by its savepoint and is there`);
  }
  for (const tag of idOf.keys()) if (!known.has(tag)) complain(`${tag} is there and nobody wrote it`);
  return [...wrong, ...checkKeys(user, idOf, fates), ...checkOrder(user, stored, fates)];
}

/** A transaction is there for all of its users or for none. */
export function checkWhole(all: ReadonlyMap<number, Sequence>, fates: readonly Fate[]): string[] {
  const tags = new Map([...all].map(([user, stored]) => [user, new Set(stored.map(({ tag }) => tag))]));
  return fates.flatMap(({ drafts }) => {
    const there = drafts.filter(({ key }) => key === undefined).map(({ user, tag }) => tags.get(user)!.has(tag));
    return there.includes(true) && there.includes(false) ? [`the transaction of ${drafts[0]!.tag} is torn`] : [];
  });
}

/** Of those with one key, one is there; not none where any was committed. */
function checkKeys(user: number, idOf: ReadonlyMap<string, number>, fates: readonly Fate[]): string[] {
  const byKey = new Map<string, { committed: boolean; stored: number }>();
  for (const { drafts, outcome } of fates) {
    for (const { key, tag } of drafts.filter((draft) => draft.user === user && draft.key !== undefined)) {
      const so = byKey.get(key!) ?? { committed: false, stored: 0 };
      so.committed ||= outcome === "committed";
      so.stored += idOf.has(tag) ? 1 : 0;
      byKey.set(key!, so);
    }
  }
  return [...byKey].flatMap(([key, { committed, stored }]) =>
    stored > 1 || (committed && stored === 0) ? [`user ${user}: ${key} is stored ${stored} times`] : [],
  );
}

/** Who began after another was acknowledged has the higher id. */
function checkOrder(user: number, stored: Sequence, fates: readonly Fate[]): string[] {
  const fateOf = new Map(fates.flatMap((fate) => fate.drafts.map(({ user: of, tag }) => [`${of} ${tag}`, fate])));
  let earliestEnd = Number.POSITIVE_INFINITY;
  for (const { tag } of [...stored].reverse()) {
    const fate = fateOf.get(`${user} ${tag}`);
    if (!fate) continue;
    if (earliestEnd < fate.began) return [`user ${user}: ${tag} began after a later one was acknowledged`];
    if (fate.outcome === "committed") earliestEnd = Math.min(earliestEnd, fate.ended);
  }
  return [];
}

/** What came on a client's connections, against what is stored. */
export function checkFollower(follower: Follower, stored: Sequence): string[] {
  const { user, transport, received, complaints, cursor } = follower;
  const wrong = [...complaints];
  if (cursor !== stored.length) wrong.push(`user ${user} over ${transport} stands at ${cursor} of ${stored.length}`);
  const differs = received.find(({ id, frames }) => frames.join() !== stored[id - 1]?.frames.join());
  if (differs) {
    const { id, frames } = differs;
    wrong.push(`user ${user} over ${transport}: entry ${id} came as ${frames}, it is ${stored[id - 1]?.frames}`);
  }
  return wrong;
}

/** REST and the counters. */
export async function checkInbox(
  sql: Sql,
  user: number,
  stored: Sequence,
  rest: (path: string) => Promise<Record<string, unknown>>,
): Promise<string[]> {
  const wrong: string[] = [];
  const expect = (what: string, got: unknown, wanted: unknown): void => {
    const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
    if (a !== b) wrong.push(`user ${user}: ${what} is ${a}, not ${b}`);
  };
  const [row] = await sql<{ last_id: number; unread_count: number; delivered_id: number }[]>`
    select last_id, unread_count, delivered_id from tidings.inbox where user_id = ${String(user)}`;
  const unread = stored.filter((one) => one.unread).length;
  expect("last_id", row?.last_id ?? 0, stored.length);
  expect("unread_count", row?.unread_count ?? 0, unread);
  if ((row?.delivered_id ?? 0) > stored.length) wrong.push(`user ${user}: delivered_id ${row!.delivered_id}`);
  expect("unread over REST", await rest("/api/notifications/unread_count"), {
    count: unread,
    by_type: unread > 0 ? { note: unread } : {},
  });
  const shown = stored.filter((one) => one.shown).map(({ id }) => id);
  const listed: number[] = [];
  for (let path: string | null = "/api/notifications?limit=200"; path; ) {
    const { items, next } = (await rest(path)) as { items: { id: number }[]; next: number | null };
    listed.push(...items.map(({ id }) => id));
    path = next === null ? null : `/api/notifications?limit=200&before=${next}`;
  }
  expect("the list", listed.reverse(), shown);
  const { last_event_id, unread_count } = await rest("/api/inbox");
  expect("the snapshot", { last_event_id, unread_count }, { last_event_id: stored.length, unread_count: unread });
  return wrong;
}
