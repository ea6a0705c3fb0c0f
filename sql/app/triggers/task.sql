-- Tasks: the assignee hears of an assignment; creator and assignee of a status change and of an attachment.
-- The actor (set local tidings.actor = '7'; REST sets it) is left out; unset, nobody is.

create or replace function app.publish_task() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
as $$
begin
  insert into tidings.outbox (kind, target, type, title, message, data)
  select 'e', t.assignee_id::text, 'assigned', 'Task Assigned', 'You were assigned task "' || t.title || '".',
    jsonb_build_object('task_id', t.id)
  from written t
  where t.assignee_id is not null and t.status not in ('done', 'cancelled')
    and t.assignee_id::text is distinct from current_setting('tidings.actor', true)
  order by t.id;
  return null;
end $$;

create or replace trigger publish_task after insert on app.task
  referencing new table as written for each statement execute function app.publish_task();

-- enable_nestloop: see invite.sql.
create or replace function app.publish_task_change() returns trigger
language plpgsql security definer
set search_path = app, pg_temp
set enable_nestloop = off
set jit = off
as $$
begin
  insert into tidings.outbox (kind, target, type, title, message, data)
  select 'e', t.assignee_id::text, 'assigned', 'Task Assigned', 'You were assigned task "' || t.title || '".',
    jsonb_build_object('task_id', t.id)
  from written t join replaced o on o.id = t.id and o.assignee_id is distinct from t.assignee_id
  where t.assignee_id is not null and t.status not in ('done', 'cancelled')
    and t.assignee_id::text is distinct from current_setting('tidings.actor', true)
  order by t.id;

  insert into tidings.outbox (kind, target, type, title, message, data)
  select 'e', side.user_id::text, 'status_changed', 'Task Status Changed',
    'Task "' || t.title || '" is now ' || replace(t.status, '_', ' ') || '.',
    jsonb_build_object('task_id', t.id, 'old_status', o.status, 'status', t.status, 'reason', t.status_reason)
  from written t
  join replaced o on o.id = t.id and o.status <> t.status
  cross join lateral (select t.creator_id user_id union select t.assignee_id) side
  where side.user_id is not null and side.user_id::text is distinct from current_setting('tidings.actor', true)
  order by t.id, side.user_id;
  return null;
end $$;

create or replace trigger publish_task_change after update on app.task
  referencing old table as replaced new table as written
  for each statement execute function app.publish_task_change();

-- Of an attachment: the simple case, and so a declaration.
select tidings.watch('file_attached', 'app.task_attachment',
  recipients => 'select unnest(array[t.creator_id, t.assignee_id]) from app.task t where t.id = new.task_id',
  type => 'file_attached',
  title => $$'File Attached'$$,
  message => $$'"' || new.name || '" was attached to task "' || (select t.title from app.task t where t.id = new.task_id) || '".'$$,
  data => $$jsonb_build_object('task_id', new.task_id, 'attachment_id', new.id, 'name', new.name, 'url', new.url)$$);
