-- Wakes the scheduler when something nearer is written: one control envelope per statement, however many rows. The
-- scheduler looks by itself every 30 s (worker/scheduler.ts), so an expiry further away need not wake it; of a task
-- only the scheduler knows how long before due_at its reminder is.

create or replace function app.wake_scheduler(at timestamptz) returns void
language sql security definer
set search_path = app, pg_temp
as $$
  insert into tidings.outbox (kind, target, event)
  select 'c', 'scheduler', jsonb_build_object('type', 'schedule', 'at', tidings.utc(at)) where isfinite(at);
$$;

create or replace function app.schedule_invites() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  perform app.wake_scheduler(min(expires_at)) from written
  where status = 'pending' and expires_at < clock_timestamp() + interval '35 seconds';
  return null;
end $$;

create or replace function app.schedule_invite_changes() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  perform app.wake_scheduler(min(expires_at)) from (
    select id, expires_at, status from written except select id, expires_at, status from replaced
  ) changed
  where status = 'pending' and expires_at < clock_timestamp() + interval '35 seconds';
  return null;
end $$;

create or replace function app.schedule_tasks() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  perform app.wake_scheduler(min(due_at)) from written where status in ('todo', 'in_progress');
  return null;
end $$;

create or replace function app.schedule_task_changes() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  perform app.wake_scheduler(min(due_at)) from (
    select id, due_at, status in ('todo', 'in_progress') is_open from written
    except select id, due_at, status in ('todo', 'in_progress') from replaced
  ) changed
  where is_open;
  return null;
end $$;

create or replace trigger schedule after insert on app.invite
  referencing new table as written for each statement execute function app.schedule_invites();
create or replace trigger schedule_changes after update on app.invite
  referencing old table as replaced new table as written
  for each statement execute function app.schedule_invite_changes();
create or replace trigger schedule after insert on app.task
  referencing new table as written for each statement execute function app.schedule_tasks();
create or replace trigger schedule_changes after update on app.task
  referencing old table as replaced new table as written
  for each statement execute function app.schedule_task_changes();
