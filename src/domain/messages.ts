/**
 * Messages of a room, for its members. A message is a row: the trigger on the table tells the others. To everybody who is no
 * member the room does not exist.
 */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Message } from "../protocol/frames.ts";
import { acting, answerOf, type Caller, reading } from "./caller.ts";
import { type Page, type PageQuery, pageOf } from "./page.ts";
import { noRoom } from "./rooms.ts";

export interface Messages {
  /** @throws "not_found" where the caller is no member. */
  list(caller: Caller, roomId: number, query: PageQuery): Promise<Page<Message>>;
  /** @throws "not_found" where the caller is no member. */
  post(caller: Caller, roomId: number, content: string): Promise<Message>;
  /** To the direct room with another user, made where there is none. @throws "invalid" for oneself or nobody. */
  send(caller: Caller, to: number, content: string): Promise<Message>;
}

export function createMessages(sql: Sql): Messages {
  return {
    async list(caller, roomId, { before, limit }) {
      const rows = await sql<{ member: boolean; item: Message | null }[]>`
        with ${reading(sql, caller)}, room as (
          select m.room_id as id from me join app.room_member m on m.user_id = me.id where m.room_id = ${roomId}
        )
        select room.id is not null as member, case when m.id is not null then app.message_json(m) end as item from me left join room on true left join lateral (
          select * from app.message m
          where m.room_id = room.id ${before === undefined ? sql`` : sql`and m.id < ${before}`}
          order by m.id desc limit ${limit + 1}
        ) m on true order by m.id desc`;
      if (!answerOf(rows).member) throw noRoom(roomId);
      return pageOf(rows, limit);
    },

    async post(caller, roomId, content) {
      const rows = await sql<{ message: Message | null }[]>`
        with ${acting(sql, caller)}, sent as (
          insert into app.message (room_id, sender_id, content)
          select m.room_id, me.id, ${content} from me join app.room_member m on m.user_id = me.id where m.room_id = ${roomId}
          returning *
        )
        select (select app.message_json(s) from sent s) as message from me`;
      const { message } = answerOf(rows);
      if (!message) throw noRoom(roomId);
      return message;
    },

    async send(caller, to, content) {
      if (String(to) === caller) throw new TidingsError("invalid", "to: you cannot write to yourself.");
      const rows = await sql<{ message: Message | null }[]>`
        with ${acting(sql, caller)}
        select case when u.id is not null then app.send_direct(me.id, u.id, ${content}) end as message
        from me left join app."user" u on u.id = ${to}`;
      const { message } = answerOf(rows);
      if (!message) throw new TidingsError("invalid", `to: there is no user ${to}.`);
      return message;
    },
  };
}
