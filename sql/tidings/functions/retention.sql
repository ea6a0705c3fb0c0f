-- Housekeeping, in batches that hold no lock for long and never wait for a writer.

-- Deletes up to `most` entries older than the cutoff, moves floors and takes what was unread off the counts.
-- Entries somebody is just reading are left for the next round. Returns how many were deleted.
create or replace function tidings.prune(cutoff timestamptz, most int default 1000) returns int
language plpgsql security definer
set search_path = tidings, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  pruned int;
begin
  with old as (
    select user_id, id from notification where created_at < cutoff order by created_at limit most for update skip locked
  ), gone as (  -- by key: a ctid is unique in one partition only; by one look-up each, whatever the planner expects
    delete from notification n using old where n.user_id = old.user_id and n.id = old.id
    returning n.user_id, n.id, (n.message is not null and not n.is_read and n.archived_at is null)::int unread
  ), mail as (
    delete from email e using gone where e.user_id = gone.user_id and e.id = gone.id
  ), staged as (
    insert into outbox (kind, target, floor, delta)
    select 'f', user_id, max(id), -sum(unread) from gone group by user_id
  )
  select count(*) into pruned from gone;
  return pruned;
end $$;

-- Removes parcels and tickets past their use. Writes nothing where there is nothing.
create or replace function tidings.tidy() returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  delete from parcel where created_at < clock_timestamp() - interval '1 minute';
  delete from ticket where expires_at < clock_timestamp();
end $$;
