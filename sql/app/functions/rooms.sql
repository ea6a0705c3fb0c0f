-- The direct room of two users: found, or made as the only one however many ask at once. Rooms that were made by
-- plain inserts are found by their two members.
create or replace function app.direct_room(one bigint, other bigint) returns bigint
language plpgsql
set search_path = app, pg_temp
as $$
declare
  key text := least(one, other) || ':' || greatest(one, other);
  found_id bigint;
begin
  select r.id into found_id from app.room r where r.direct_key = key;
  if found_id is null then
    select r.id into found_id
    from app.room r
    join app.room_member a on a.room_id = r.id and a.user_id = one
    join app.room_member b on b.room_id = r.id and b.user_id = other
    where r.kind = 'direct' and (select count(*) from app.room_member m where m.room_id = r.id) = 2
    order by r.id limit 1;
  end if;
  if found_id is null then
    insert into app.room (kind, direct_key) values ('direct', key)
    on conflict (direct_key) do update set direct_key = excluded.direct_key returning id into found_id;
  end if;
  insert into app.room_member (room_id, user_id) values (found_id, one), (found_id, other) on conflict do nothing;
  return found_id;
end $$;
