/** The demo users of the embedded database: 1 ann, 2 ben, 3 cleo, 4 dan, ann and ben being friends. Once, on an empty table. */
import type { Sql } from "./client.ts";

export async function seedDemo(sql: Sql): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`lock table app."user" in share row exclusive mode`;
    const rows = await tx`
      insert into app."user" (username, email)
      select name, name || '@example.com' from unnest('{ann,ben,cleo,dan}'::text[]) name
      where not exists (select from app."user") returning id`;
    if (rows.length > 0)
      await tx`insert into app.friendship (requester_id, addressee_id, status) values (1, 2, 'accepted')`;
  });
}
