-- From a declaration of tidings.watch to a trigger function and its triggers. Functions without a search_path of their own run
-- under that of tidings.watch (pg_catalog), which calls them.

-- The columns of a table's primary key, in order; null where it has none.
create or replace function tidings.watch_key(source regclass) returns text[]
language sql stable
return (select array_agg(a.attname::text order by k.n)
  from pg_index i cross join lateral unnest(i.indkey) with ordinality k(attnum, n)
  join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where i.indrelid = source and i.indisprimary);

-- The tables a watch has triggers on: the table itself and all its partitions, because a statement fires only the
-- statement triggers of the table it names.
create or replace function tidings.watch_relations(source regclass) returns setof regclass
language sql stable
begin atomic
  select source where source is not null
  union
  select relid from pg_partition_tree(source);
end;

-- Where the rows come from. `new` and `old` are both there in every operation, so that one text serves several.
create or replace function tidings.watch_rows(source regclass, operation text) returns text
language sql stable
return case operation
  when 'insert' then format('"tidings new" new left join (select * from %s where false) old on true', source)
  when 'delete' then format('"tidings old" old left join (select * from %s where false) new on true', source)
  else (select format('"tidings new" new join "tidings old" old on (%s) = (%s)',
    string_agg('new.' || quote_ident(c), ', ' order by n), string_agg('old.' || quote_ident(c), ', ' order by n))
    from unnest(tidings.watch_key(source)) with ordinality k(c, n))
end;

-- The user ids of a row, as a query.
create or replace function tidings.watch_recipients(source regclass, expression text) returns text
language plpgsql
as $$
declare
  of_array boolean := tidings.watch_type_of(source, expression) like '%[]';
begin
  if tidings.watch_is_query(expression) then
    return pg_catalog.format('select %s from (%s
) "tidings query"(id)', case when of_array then 'pg_catalog.unnest(id::text[])' else 'id::text' end, expression);
  end if;
  return pg_catalog.format('select %s', pg_catalog.format(case when of_array then 'pg_catalog.unnest((%s
)::text[])' else '(%s
)::text' end, expression));
end $$;

-- The statement that stages what one operation publishes: one row per recipient, in the order of the primary key, all
-- handed over at once. The texts are evaluated once per row, not once per recipient (offset 0).
create or replace function tidings.watch_statement(d jsonb, source regclass, operation text) returns text
language plpgsql
as $$
declare
  side text := case operation when 'delete' then 'old' else 'new' end;
begin
  return pg_catalog.format($sql$select tidings.stage_watched(%L, array_agg(id), array_agg(type), array_agg(title), array_agg(message),
  array_agg(data), array_agg(event), array_agg(key))
from (
  select "tidings to".id, "tidings entry".*
  from %s
  cross join lateral (select %s offset 0) "tidings entry"(type, title, message, data, event, key)
  cross join lateral (
    select distinct id from (%s) "tidings recipient"(id) where id is distinct from %s
  ) "tidings to"
  where %s and "tidings to".id is not null
  order by %s"tidings to".id
) "tidings staged"$sql$,
    d ->> 'name', tidings.watch_rows(source, operation),
    (select string_agg(pg_catalog.format('(%s' || E'\n' || ')::%s', coalesce(tidings.watch_text(d, p), 'null'), t), ', ' order by n)
      from unnest(array['type', 'title', 'message', 'data', 'event', 'key'],
        array['text', 'text', 'text', 'jsonb', 'jsonb', 'text']) with ordinality x(p, t, n)),
    tidings.watch_recipients(source, d ->> 'recipients'),
    pg_catalog.format('(%s' || E'\n' || ')::text', coalesce(d ->> 'actor', 'pg_catalog.current_setting(''tidings.actor'', true)')),
    pg_catalog.format('(%s' || E'\n' || ')', coalesce(d ->> 'condition', 'true')),
    (select string_agg(side || '.' || quote_ident(c) || ', ', '' order by n) from unnest(tidings.watch_key(source)) with ordinality k(c, n)));
end $$;

-- The trigger function. It executes text instead of keeping a plan: a plan made for one row takes minutes for 20,000.
create or replace function tidings.watch_create(d jsonb, source regclass) returns void
language plpgsql
as $$
declare
  schema text := (select c.relnamespace::pg_catalog.regnamespace::text from pg_catalog.pg_class c where c.oid = source);
  owner name := (select pg_catalog.pg_get_userbyid(c.relowner) from pg_catalog.pg_class c where c.oid = source);
  function text := pg_catalog.format('%s.%I()', schema, 'tidings watch ' || (d ->> 'name'));
  body text := E'-- written by tidings.watch, to be changed by it alone\nbegin\n';
  operation text;
begin
  for operation in select pg_catalog.jsonb_array_elements_text(d -> 'operations') loop
    body := body || pg_catalog.format(E'  if tg_op = %L then\n    execute %L;\n  end if;\n',
      upper(operation), tidings.watch_statement(d, source, operation));
  end loop;
  execute pg_catalog.format(
    'create function %s returns trigger language plpgsql security definer
      set search_path = %s, pg_temp set jit = off set standard_conforming_strings = on as %L',
    function, schema, body || E'  return null;\nend');
  execute pg_catalog.format('comment on function %s is %L', function, d);
  perform tidings.watch_attach(d, source, function::pg_catalog.regprocedure);
  execute pg_catalog.format('revoke execute on function %s from public', function);
  if owner <> current_user then
    execute pg_catalog.format('alter function %s owner to %I', function, owner);
  end if;
end $$;

-- The triggers: one per operation (Postgres wants them apart when they have transition tables) and table.
create or replace function tidings.watch_attach(d jsonb, source regclass, function oid) returns void
language plpgsql
as $$
declare
  operation text;
  relation regclass;
begin
  for operation in select pg_catalog.jsonb_array_elements_text(d -> 'operations') loop
    for relation in select tidings.watch_relations(source) loop
      continue when exists (select from pg_catalog.pg_trigger t where t.tgrelid = relation and t.tgfoid = function
        and t.tgname = pg_catalog.format('tidings %s %s', d ->> 'name', operation));
      execute pg_catalog.format('create trigger %I after %s on %s referencing %s for each statement execute function %s',
        pg_catalog.format('tidings %s %s', d ->> 'name', operation), operation, relation,
        case operation when 'insert' then 'new table as "tidings new"' when 'delete' then 'old table as "tidings old"'
          else 'old table as "tidings old" new table as "tidings new"' end,
        function::pg_catalog.regprocedure);
    end loop;
  end loop;
end $$;

-- Drops a watch with its triggers; false where there is none. Postgres refuses who does not own it.
create or replace function tidings.watch_drop(of_name text) returns boolean
language plpgsql
as $$
declare
  function pg_catalog.regprocedure;
  found boolean := false;
begin
  for function in select w.function from tidings.watch_functions w where w.declaration ->> 'name' = of_name loop
    execute pg_catalog.format('drop function %s cascade', function);
    found := true;
  end loop;
  return found;
end $$;

-- What the trigger functions call: stages all entries of one statement. Security definer, like all that producers call.
create or replace function tidings.stage_watched(
  name text, users text[], types text[], titles text[], messages text[], data jsonb[], events jsonb[], keys text[]
) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  if exists (select from unnest(messages, events) m(message, event) where message is null and event is null) then
    raise exception 'tidings.watch %: the message of a row is null', quote_literal(name) using errcode = '22004',
      hint = 'A null in a text makes all of it null: use coalesce or concat, or leave such rows out by the condition.';
  end if;
  perform check_event(e) from unnest(events) e  -- for its hint; the outbox itself refuses whatever else is wrong
  where e is not null and (e ?| array['id', 'more'] or jsonb_typeof(e -> 'type') is distinct from 'string');
  insert into outbox (kind, target, type, event, title, message, data, key)
  select 'e', u, coalesce(nullif(t, ''), e ->> 'type', 'notification'), e,
    case when m is not null then coalesce(h, '') end, m, case when m is not null then coalesce(d, '{}') end, k
  from unnest(users, types, titles, messages, data, events, keys) x(u, t, h, m, d, e, k);
end $$;
