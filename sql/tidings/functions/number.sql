-- Numbering at commit: staged rows become entries with dense ids, in commit order.
--
-- The transaction's head row carries two deferred triggers. `defer_numbering` runs first at commit, deletes the
-- head and thereby queues `number`, which so runs after the application's own deferred triggers: they may stage
-- more, and may wait for locks, before we hold any. `number` then locks all inbox rows of the transaction in one
-- order (by user id), which is why opposite orders cannot deadlock, and holds them only until the commit ends.

create or replace function tidings.defer_numbering() returns trigger
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  -- `set constraints all immediate` in the middle of a transaction runs us early: numbering still waits for the end
  set constraints tidings.number deferred;
  delete from outbox where ctid = new.ctid;
  return null;
end $$;

create or replace function tidings.number() returns trigger
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  alone boolean := current_setting('tidings.tx', true) = old.xid::text || ':1';
begin
  perform set_config('tidings.tx', old.xid::text || ':0', true);
  -- ids that listeners have seen must not be given again after a crash
  if current_setting('synchronous_commit') = 'off' then
    perform set_config('synchronous_commit', 'on', true);
  end if;
  if not alone or old.key is not null or old.kind in ('r', 'f') then
    perform tidings.number_many(old);
  elsif old.kind = 'e' then
    perform tidings.number_one(old);
  else
    perform tidings.announce(array[tidings.staged_envelope(old)]);
  end if;
  -- a deferred trigger that stages after this opens a new round
  set constraints tidings.defer_numbering, tidings.number deferred;
  return null;
end $$;

-- The envelope of a staged transient event or control message.
create or replace function tidings.staged_envelope(o tidings.outbox) returns text
language sql immutable
return case when o.kind = 'c' then (o.event || jsonb_build_object('group', o.target))::text
  else tidings.transient_envelope(o.target, o.event, o.parcel) end;

-- The cheap path: exactly one entry staged, without a key.
create or replace function tidings.number_one(o tidings.outbox) returns void
language plpgsql
set search_path = tidings, pg_temp
as $$
declare
  wish tidings.preference;
  entry tidings.notification;
  moment timestamptz;
begin
  select * into wish from preference where user_id = o.target and type = o.type;
  if wish.mute then
    o.message := null;
    if o.event is null then
      return;
    end if;
  end if;
  insert into inbox as i (user_id, last_id, unread_count) values (o.target, 1, (o.message is not null)::int)
  on conflict (user_id) do update set last_id = i.last_id + 1, unread_count = i.unread_count + excluded.unread_count
  returning last_id into entry.id;
  moment := clock_timestamp();
  insert into notification (user_id, id, event, type, title, message, data, streamed, actor, created_at)
  values (o.target, entry.id, o.event, o.type, o.title, o.message, o.data, coalesce(wish.stream, true),
    nullif(current_setting('tidings.actor', true), ''), moment);
  if wish.email and o.message is not null then
    insert into email (user_id, id, type, created_at, next_at) values (o.target, entry.id, o.type, moment, moment);
  end if;
  perform announce(array[entry_envelope(o.target, entry.id, o.event,
    canonical(entry.id, o.type, o.title, o.message, o.data, false, false, moment), coalesce(wish.stream, true), moment)]);
end $$;

drop trigger if exists defer_numbering on tidings.outbox;
create constraint trigger defer_numbering after insert on tidings.outbox deferrable initially deferred
  for each row when (new.head) execute function tidings.defer_numbering();
drop trigger if exists number on tidings.outbox;
create constraint trigger number after delete on tidings.outbox deferrable initially deferred
  for each row when (old.head) execute function tidings.number();
-- also for rows written by logical replication or with session_replication_role = replica
alter table tidings.outbox enable always trigger defer_numbering;
alter table tidings.outbox enable always trigger number;

-- Writing entries by hand would make holes and wrong counts.
create or replace function tidings.refuse_insert() returns trigger
language plpgsql
set search_path = tidings, pg_temp
as $$
begin
  raise exception 'tidings.notification is numbered at commit and not written by hand' using errcode = '0A000',
    hint = 'Insert into the view tidings.notifications, or call tidings.send_notification(…).';
end $$;
create or replace trigger refuse_insert before insert on tidings.notification
  for each statement when (coalesce(right(current_setting('tidings.tx', true), 2), '') <> ':0')
  execute function tidings.refuse_insert();
