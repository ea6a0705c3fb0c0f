/** What a chat stream asks of the domain: who is a member, and a message to write. Rows only; triggers make the frames. */
import type { Sql } from "../db/client.ts";
import { TidingsError } from "../errors.ts";
import type { Chat, Member } from "../http/chat.ts";

export function createChat(sql: Sql): Chat {
  return {
    async member(roomId, userId) {
      const [row] = await sql<Member[]>`
        select r.kind, app.user_ref(m.user_id) as user from app.room r join app.room_member m on m.room_id = r.id
        where r.id = ${roomId} and m.user_id = app.known_id(${userId})`;
      return row ?? null;
    },
    async strangers(pairs) {
      const rows = await sql<{ at: number }[]>`
        select (p.n - 1)::int as at
        from unnest(${pairs.map((pair) => pair.roomId)}::bigint[], ${pairs.map((pair) => pair.userId)}::text[])
          with ordinality as p(room_id, user_id, n)
        where not exists (select from app.room_member m where m.room_id = p.room_id and m.user_id = app.known_id(p.user_id))`;
      return rows.map((row) => row.at);
    },
    async post(roomId, userId, content) {
      const rows = await sql`
        insert into app.message (room_id, sender_id, content)
        select m.room_id, m.user_id, ${content} from app.room_member m
        where m.room_id = ${roomId} and m.user_id = app.known_id(${userId}) returning id`;
      if (rows.length === 0) throw new TidingsError("forbidden", "You are not a member of this room.");
    },
    async announce(roomId, payload) {
      await sql`select tidings.notify_group(${`room_${roomId}`}::text, ${JSON.stringify(payload)}::text::jsonb)`;
    },
  };
}
