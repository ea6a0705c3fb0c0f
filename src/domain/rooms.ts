/**
 * Rooms: those of the caller, making them, and who is in them. To everybody who is no member a room does not exist. A direct
 * room is the only one of its two members, and keeps them. Writes rows, never frames.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { UserRef } from "../protocol/frames.ts";
import { acting, answerOf, type Caller, reading } from "./caller.ts";
import { type Page, type PageQuery, pageOf } from "./page.ts";

export type RoomKind = "direct" | "task" | "group";

export interface Room {
  id: number;
  kind: RoomKind;
  name: string | null;
  task_id: number | null;
  creator: UserRef | null;
  member_count: number;
  /** At most 100 of them, by id. */
  members: UserRef[];
}

export interface NewRoom {
  readonly kind: RoomKind;
  readonly name?: string | undefined;
  /** Beside the caller, who is always a member. */
  readonly memberIds: readonly number[];
  readonly taskId?: number | undefined;
}

export interface Rooms {
  list(caller: Caller, query: PageQuery): Promise<Page<Room>>;
  /** A direct room that exists already is returned as it is. @throws "invalid", "not_found" for another's task. */
  make(caller: Caller, room: NewRoom): Promise<Room>;
  /** @throws "not_found" where the caller is no member, "invalid" for users that do not exist, "conflict" for a direct room. */
  addMembers(caller: Caller, id: number, userIds: readonly number[]): Promise<Room>;
  /** Members leave; who made the room removes others. @throws "not_found", "forbidden", "conflict" for a direct room. */
  removeMember(caller: Caller, id: number, userId: number | undefined): Promise<void>;
}

interface Change {
  kind: RoomKind | null;
  known: boolean | null;
}

interface Removal {
  kind: RoomKind | null;
  allowed: boolean | null;
  removed: boolean;
}

export function createRooms(sql: Sql): Rooms {
  return {
    async list(caller, { before, limit }) {
      const rows = await sql<{ item: Room | null }[]>`
        with ${reading(sql, caller)}
        select case when r.id is not null then app.room_json(r) end as item from me left join lateral (
          select r.* from app.room_member m join app.room r on r.id = m.room_id
          where m.user_id = me.id ${before === undefined ? sql`` : sql`and r.id < ${before}`}
          order by r.id desc limit ${limit + 1}
        ) r on true order by r.id desc`;
      return pageOf(rows, limit);
    },

    async make(caller, { kind, name, memberIds, taskId }) {
      const others = [...new Set(memberIds)].filter((id) => String(id) !== caller);
      if (kind === "direct") return makeDirect(caller, others);
      if ((kind === "task") !== (taskId !== undefined)) {
        throw new TidingsError("invalid", "task_id: a task room wants the id of its task, and other rooms have none.");
      }
      const rows = await sql<{ found: boolean; room: Room | null }[]>`
        with ${acting(sql, caller)}, task as (
          select t.id from me join app.task t on me.id in (t.creator_id, t.assignee_id) where t.id = ${taskId ?? null}
        )
        select ${kind !== "task"} or task.id is not null as found,
          case when ${kind !== "task"} or task.id is not null
            then app.make_room(me.id, ${kind}, ${name ?? null}, ${others}::bigint[], task.id) end as room
        from me left join task on true`;
      const { found, room } = answerOf(rows);
      if (!found) throw new TidingsError("not_found", `You have no task ${taskId}.`);
      if (!room) throw new TidingsError("invalid", "member_ids: not all of these users exist.");
      return room;
    },

    async addMembers(caller, id, userIds) {
      const ids = [...new Set(userIds)];
      const rows = await sql<Change[]>`
        with ${acting(sql, caller)}, room as (
          select r.id, r.kind, (select count(*) from app."user" u where u.id = any(${ids}::bigint[])) = ${ids.length} as known
          from me join app.room_member m on m.user_id = me.id join app.room r on r.id = m.room_id where r.id = ${id}
        ), added as (
          insert into app.room_member (room_id, user_id)
          select room.id, u from room, unnest(${ids}::bigint[]) u where room.kind <> 'direct' and room.known
          on conflict do nothing
        )
        select room.kind, room.known from me left join room on true`;
      const { kind, known } = answerOf(rows);
      if (kind === null) throw noRoom(id);
      if (kind === "direct") throw directStays();
      if (!known) throw new TidingsError("invalid", "Not all of these users exist.");
      const [row] = await sql<{ room: Room }[]>`select app.room_json(r) as room from app.room r where r.id = ${id}`;
      if (!row) throw noRoom(id);
      return row.room;
    },

    async removeMember(caller, id, userId) {
      const leaving = userId ?? Number(caller);
      const rows = await sql<Removal[]>`
        with ${acting(sql, caller)}, room as (
          select r.id, r.kind, me.id = ${leaving} or r.creator_id is null or r.creator_id = me.id as allowed
          from me join app.room_member m on m.user_id = me.id join app.room r on r.id = m.room_id where r.id = ${id}
        ), removed as (
          delete from app.room_member m using room
          where m.room_id = room.id and m.user_id = ${leaving} and room.allowed and room.kind <> 'direct' returning 1
        )
        select room.kind, room.allowed, exists (select from removed) as removed from me left join room on true`;
      const { kind, allowed, removed } = answerOf(rows);
      if (kind === null) throw noRoom(id);
      if (kind === "direct") throw directStays();
      if (!allowed) throw new TidingsError("forbidden", "Only the one who made the room may remove others from it.");
      if (!removed) throw new TidingsError("not_found", `User ${leaving} is no member of this room.`);
    },
  };

  async function makeDirect(caller: Caller, others: readonly number[]): Promise<Room> {
    const [other] = others;
    if (other === undefined || others.length > 1) {
      throw new TidingsError("invalid", "member_ids: a direct room wants exactly one other user.");
    }
    const rows = await sql<{ id: number | null }[]>`
      with ${acting(sql, caller)}
      select case when u.id is not null then app.direct_room(me.id, u.id) end as id from me left join app."user" u on u.id = ${other}`;
    const { id } = answerOf(rows);
    if (id === null) throw new TidingsError("invalid", `member_ids: there is no user ${other}.`);
    const [row] = await sql<{ room: Room }[]>`select app.room_json(r) as room from app.room r where r.id = ${id}`;
    if (!row) throw noRoom(id);
    return row.room;
  }
}

/** The answer to everybody who is no member. */
export function noRoom(id: number): TidingsError {
  return new TidingsError("not_found", `You are in no room ${id}.`);
}

function directStays(): TidingsError {
  return new TidingsError("conflict", "A direct room keeps its two members: make a group instead.");
}
