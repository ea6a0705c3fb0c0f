-- Membership that ends closes the member's chat streams on that room, on every instance, with 4403.

create or replace function app.publish_leave() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, event)
  select 'c', 'room_' || room_id, jsonb_build_object('type', 'leave', 'user_id', user_id::text) from removed;
  return null;
end $$;

create or replace trigger publish_leave after delete on app.room_member
  referencing old table as removed for each statement execute function app.publish_leave();
