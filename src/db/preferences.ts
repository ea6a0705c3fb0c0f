/** What a user wants of each notification type (CONTRACT section 8). Obeyed inside SQL, so by every producer. */
import type { Sql } from "./client.ts";

export interface Preference {
  stream: boolean;
  email: boolean;
  mute: boolean;
}

export type PreferenceMap = Record<string, Preference>;

export interface Preferences {
  read(userId: string): Promise<PreferenceMap>;
  /** Puts these in the place of all there were. */
  replace(userId: string, wanted: PreferenceMap): Promise<PreferenceMap>;
}

export function createPreferences(sql: Sql): Preferences {
  return {
    async read(userId) {
      const rows = await sql<({ type: string } & Preference)[]>`
        select type, stream, email, mute from tidings.preference where user_id = ${userId} order by type`;
      return Object.fromEntries(rows.map(({ type, ...wish }) => [type, wish]));
    },
    async replace(userId, wanted) {
      await sql`
        with wanted as (
          select key as type, (value ->> 'stream')::boolean as stream, (value ->> 'email')::boolean as email,
            (value ->> 'mute')::boolean as mute
          from jsonb_each(${JSON.stringify(wanted)}::text::jsonb)
        ), dropped as (
          delete from tidings.preference p
          where p.user_id = ${userId} and not exists (select from wanted w where w.type = p.type)
        )
        insert into tidings.preference as p (user_id, type, stream, email, mute)
        select ${userId}, type, stream, email, mute from wanted order by type
        on conflict (user_id, type) do update set stream = excluded.stream, email = excluded.email, mute = excluded.mute`;
      return wanted;
    },
  };
}
