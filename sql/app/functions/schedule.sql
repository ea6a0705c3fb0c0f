-- What falls due by the clock: invites expire, tasks are reminded of and become overdue. The state stands in the rows,
-- so nothing is missed after a downtime and nothing is sent twice, whoever runs this and however often.
-- Every instance asks (worker/scheduler.ts), one at a time acts. Rows that somebody is just writing wait for the next round.

-- Invites past expires_at become expired; the trigger on the table tells both sides. Returns how many.
create or replace function app.expire_invites(most int) returns int
language plpgsql
set search_path = app, pg_temp
as $$
declare
  many int;
begin
  update app.invite set status = 'expired' where id = any (array(
    select id from app.invite where status = 'pending' and expires_at <= clock_timestamp()
    order by expires_at limit most for update skip locked));
  get diagnostics many = row_count;
  return many;
end $$;

-- One reminder per due_at, to the assignee, else the creator; none for a task created inside the window. A
-- due_at that is moved into it is reminded of at once. After a downtime over both moments the reminder is still sent, before the overdue notification. Returns how many it looked at.
create or replace function app.remind_of_tasks(before_due interval, most int) returns int
language plpgsql
set search_path = app, pg_temp
as $$
declare
  many int;
begin
  with due as (
    update app.task set reminded_for = due_at where id = any (array(
      select id from app.task
      where status in ('todo', 'in_progress') and reminded_for is distinct from due_at
        and due_at <= clock_timestamp() + before_due
      order by due_at limit most for update skip locked))
    returning id, title, coalesce(assignee_id, creator_id) told, due_at, due_at - before_due >= created_at in_time
  ), sent as (
    insert into tidings.outbox (kind, target, type, title, message, data)
    select 'e', told::text, 'deadline_reminder', 'Deadline Reminder',
      'Task "' || title || '" is due at ' || to_char(due_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC.',
      jsonb_build_object('task_id', id, 'due_at', tidings.utc(due_at))
    from due where in_time order by due_at, id
  )
  select count(*) into many from due;
  return many;
end $$;

-- Overdue once per due_at, to creator and assignee. Returns how many.
create or replace function app.call_tasks_overdue(most int) returns int
language plpgsql
set search_path = app, pg_temp
as $$
declare
  many int;
begin
  with due as (
    update app.task set overdue_for = due_at where id = any (array(
      select id from app.task
      where status in ('todo', 'in_progress') and overdue_for is distinct from due_at and due_at <= clock_timestamp()
      order by due_at limit most for update skip locked))
    returning id, title, creator_id, assignee_id, due_at
  ), sent as (
    insert into tidings.outbox (kind, target, type, title, message, data)
    select 'e', side.user_id::text, 'overdue', 'Task Overdue', 'Task "' || title || '" is now overdue.',
      jsonb_build_object('task_id', id, 'due_at', tidings.utc(due_at))
    from due cross join lateral (select creator_id user_id union select assignee_id) side
    where side.user_id is not null order by due_at, id, side.user_id
  )
  select count(*) into many from due;
  return many;
end $$;

-- When the next thing falls due; in the past where something is; null: nothing ever will as things stand.
create or replace function app.next_due(before_due interval) returns timestamptz
language sql stable
return least(
  (select min(expires_at) from app.invite where status = 'pending' and expires_at is not null),
  (select min(due_at) from app.task where status in ('todo', 'in_progress') and overdue_for is distinct from due_at),
  (select min(due_at) - before_due from app.task
    where status in ('todo', 'in_progress') and reminded_for is distinct from due_at));

-- One round: at most `most` of each. Returns how much was done, null where another instance is just at it, and the
-- seconds until there is something to do again (null: nothing is in sight; not positive: at once).
-- 1953063019 is the scheduler's lock; it ends with the transaction, so that there is no office to inherit from the dead.
create or replace function app.run_schedule(reminder_seconds int, most int, out done int, out wait double precision)
language plpgsql security definer
set search_path = app, pg_temp
as $$
declare
  before_due interval := make_interval(secs => reminder_seconds);
begin
  if pg_try_advisory_xact_lock(1953063019, 0) then
    done := app.expire_invites(most) + app.remind_of_tasks(before_due, most) + app.call_tasks_overdue(most);
  end if;
  wait := extract(epoch from app.next_due(before_due)) - extract(epoch from clock_timestamp());
end $$;
