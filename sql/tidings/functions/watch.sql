-- Watching any table: tidings.watch compiles a declaration into statement-level triggers.
--
--   select tidings.watch('order_shipped', 'shop.orders',
--     recipients => 'new.customer_id', type => 'order_shipped',
--     title => '''Shipped''', message => '''Order '' || new.number || '' is on its way''',
--     operations => '{update}', condition => 'new.status = ''shipped'' and old.status <> new.status',
--     data => 'jsonb_build_object(''order_id'', new.id)');
--
-- The texts are SQL over `new` and `old` (old is null for an insert, new for a delete). A type that is a plain word
-- stands for itself. `recipients` gives a user id or an array of them, or is a query giving rows of them. Whoever acts
-- (`actor`, by default the setting tidings.actor) is left out; actor => 'null' leaves nobody out.
--
-- Rights: only who owns the table, or may act as its owner, may watch it. The trigger function belongs to that owner and runs
-- with the owner's rights, and with no others: a declaration can read what its owner can read. Names without a
-- schema are looked up in the schema of the table alone, so only trusted roles should be able to create in it. The owner
-- needs EXECUTE on tidings.stage_watched, as every producer needs EXECUTE on what it calls.
--
-- A watch is a trigger function and its triggers; its declaration is the function's comment, so that pg_dump carries
-- all of it and dropping the table takes the triggers along. Not heard: writes to inheritance children and to
-- partitions added later (see tidings.refresh_watch), logical replication, truncate; of an update, rows whose primary key it changes.

-- Declares a watch, or replaces the one of this name. Mistakes are reported now, by parameter; what goes wrong while
-- a row is written is an error of that write.
create or replace function tidings.watch(
  name text, source regclass, recipients text, type text, title text default null, message text default null,
  operations text[] default '{insert}', condition text default null, actor text default null, data text default null,
  event text default null, key text default null
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
set standard_conforming_strings = on
set client_min_messages = warning
as $$
declare
  -- a parameter as wrong as a missing expression is reported as such, not as "null"
  d jsonb := jsonb_build_object(
    'name', name, 'source', source::text, 'recipients', recipients, 'type', type, 'title', title, 'message', message,
    'operations', to_jsonb(array(select distinct lower(o) from unnest(operations) o order by 1)), 'condition', condition,
    'actor', actor, 'data', data, 'event', event, 'key', key);
begin
  perform pg_advisory_xact_lock(1953063020, hashtext(name));
  perform tidings.watch_check_source(d, source);
  perform tidings.watch_check_texts(d, source);
  perform tidings.watch_drop(name);
  perform tidings.watch_create(d, source);
end $$;

-- Ends a watch. An error where there is none of this name.
create or replace function tidings.unwatch(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
begin
  if not tidings.watch_drop(name) then
    raise exception 'tidings.unwatch: there is no watch %', quote_nullable(name) using errcode = '42704',
      hint = 'The view tidings.watches lists them.';
  end if;
end $$;

-- Gives the partitions that were added meanwhile their triggers, for writes that name a partition. (What is written
-- through the parent is heard in any case.)
create or replace function tidings.refresh_watch(name text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
  found record;
begin
  select * into found from tidings.watch_functions w where w.declaration ->> 'name' = refresh_watch.name;
  if found.source is null then
    raise exception 'tidings.refresh_watch: there is no watch % of a table that exists', quote_nullable(name)
      using errcode = '42704', hint = 'The view tidings.watches lists them.';
  end if;
  perform tidings.watch_check_source(found.declaration, found.source);
  perform tidings.watch_attach(found.declaration, found.source, found.function::oid);
end $$;
