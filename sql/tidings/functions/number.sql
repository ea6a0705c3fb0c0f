-- Numbering at commit: staged rows become entries with dense ids, in commit order.
--
-- The transaction's head row carries two deferred triggers. `defer_numbering` runs first at commit, deletes the
-- head and thereby queues `number`, which so runs after the application's own deferred triggers: they may stage
-- more, and may wait for locks, before we hold any. `number` then locks all inbox rows of the transaction in one
-- order (by user id), which is why opposite orders cannot deadlock, and holds them only until the commit ends.

-- Runs in every publishing transaction. Without a search_path, which would cost more than all it does: everything
-- in it is qualified, the operator too.
create or replace function tidings.defer_numbering() returns trigger
language plpgsql security definer
as $$
begin
  delete from tidings.outbox where ctid operator(pg_catalog.=) new.ctid;
  return null;
end $$;

-- Every expression is prepared anew in each transaction, which is most of what they cost: few and short ones, and what
-- is rare in a function of its own. Nearly all transactions stage one entry, and commit it as they come.
create or replace function tidings.number() returns trigger
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  settled text;
begin
  -- assignments where `perform` would do: plpgsql evaluates them without a query
  if current_setting('tidings.tx', true) like '%:1' and old.kind = 'e' and pg_trigger_depth() = 1
    and current_setting('synchronous_commit') <> 'off'
  then
    settled := set_config('tidings.tx', old.xid::text || ':0', true);
    settled := tidings.announce_one(tidings.number_entry(old));
  else
    settled := tidings.number_any(old);
  end if;
  return null;
end $$;

-- Any transaction; returns whether it rang.
create or replace function tidings.number_any(o tidings.outbox) returns boolean
language plpgsql
as $$
declare
  state text := current_setting('tidings.tx', true);
  settled text;
begin
  if tidings.runs_early() then
    set constraints tidings.number deferred;
    insert into tidings.outbox overriding system value select o.*;
    return false;
  end if;
  if current_setting('synchronous_commit') = 'off' then
    -- ids that listeners have seen must not be given again after a crash
    settled := set_config('synchronous_commit', 'on', true);
  end if;
  settled := set_config('tidings.tx', o.xid::text || ':0', true);
  if state ~ ':[1-9]$' then
    return tidings.announce(tidings.number_few(o));
  end if;
  return tidings.announce(tidings.number_many(o));
end $$;

-- `set constraints all immediate` in the middle of a transaction runs the numbering early: as soon as the head is
-- deleted, or, when it is said again, by itself. It then puts the head back, until the statement that ran it is the commit.
-- A head that was put back counts as two rows: so `number` leaves it to `number_any`, which asks here again.
create or replace function tidings.runs_early() returns boolean
language plpgsql
as $$
declare
  held text := current_setting('tidings.held', true);
  state text := current_setting('tidings.tx', true);
begin
  if pg_trigger_depth() > 1 or held <> '' and held <> statement_timestamp()::text then
    if state like '%:1' then
      state := set_config('tidings.tx', left(state, -1) || '2', true);
    end if;
    return set_config('tidings.held', statement_timestamp()::text, true) is not null;
  end if;
  return false;
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
as $$
begin
  -- not a `when` of the trigger, which Postgres would parse again for each statement
  if current_setting('tidings.tx', true) like '%:0' then
    return null;
  end if;
  raise exception 'tidings.notification is numbered at commit and not written by hand' using errcode = '0A000',
    hint = 'Insert into the view tidings.notifications, or call tidings.send_notification(…).';
end $$;
create or replace trigger refuse_insert before insert on tidings.notification
  for each statement execute function tidings.refuse_insert();
