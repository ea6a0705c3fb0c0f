-- What a declaration of tidings.watch is checked for when it is made.

-- The table: one that can have the triggers, and that the caller may act as the owner of.
create or replace function tidings.watch_check_source(d jsonb, source regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  c pg_class;
  problem text;
  hint text;
begin
  select * into c from pg_class where oid = source;
  if octet_length(d ->> 'name') not between 1 and 40 then
    problem := 'name: 1 to 40 bytes';
    hint := 'The trigger function and the triggers are named after it.';
  elsif d ->> 'name' is null or source is null or c.oid is null then
    problem := 'name and source must be given';
    hint := 'The source is a table that exists.';
  elsif c.relkind not in ('r', 'p') then
    problem := format('source: %s is %s', source, case c.relkind when 'v' then 'a view' when 'm' then 'a materialized view'
      when 'f' then 'a foreign table' else 'no table' end);
    hint := 'Only a table has the triggers a watch needs: watch the tables behind it.';
  elsif c.relpersistence = 't' or c.relnamespace = 'tidings'::regnamespace then
    problem := format('source: %s is %s', source, case c.relpersistence when 't' then 'a temporary table' else 'a table of Tidings itself' end);
    hint := 'Watch a table of the application that stays.';
  elsif c.relispartition then
    problem := format('source: %s is a partition', source);
    hint := 'Watch the partitioned table: its partitions are included.';
  elsif exists (select from pg_partition_tree(source) t join pg_class p on p.oid = t.relid where p.relkind = 'f') then
    problem := format('source: %s has a foreign table among its partitions', source);
    hint := 'Postgres gives no transition table for it: watch its other partitions as tables of their own.';
  elsif not pg_has_role(c.relowner, 'usage') then
    problem := format('source: only who owns %s may watch it', source);
    hint := format('Run it as %s, or as a member of that role.', c.relowner::regrole);
  elsif not has_schema_privilege(c.relowner, c.relnamespace, 'create') then
    problem := format('source: the owner of %s may not create functions in its schema', source);
    hint := format('grant create on schema %s to %s', c.relnamespace::regnamespace, c.relowner::regrole);
  elsif not has_schema_privilege(c.relowner, 'tidings', 'usage') or not has_function_privilege(c.relowner,
    'tidings.stage_watched(text, text[], text[], text[], text[], jsonb[], jsonb[], text[])', 'execute') then
    problem := format('source: the owner of %s may not publish', source);
    hint := format('grant usage on schema tidings to %1$s; grant execute on function tidings.stage_watched to %1$s', c.relowner::regrole);
  end if;
  if problem is not null then
    raise exception 'tidings.watch: %', problem
      using errcode = case when problem ~ ' may (not )?' or problem ~ '^source: only' then '42501' else '22023' end, hint = hint;
  end if;
end $$;

-- The texts: each by itself, then what they must be together.
create or replace function tidings.watch_check_texts(d jsonb, source regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
as $$
declare
  problem text;
begin
  if d ->> 'recipients' is null then
    problem := 'recipients must be given';
  elsif d ->> 'message' is null and d ->> 'event' is null then
    problem := 'message: give a message, an event, or both';
  elsif d ->> 'message' is null and d ->> 'title' is not null then
    problem := 'title: an entry without a message has no title';
  elsif d -> 'operations' = '[]' or not d -> 'operations' <@ '["insert", "update", "delete"]' then
    problem := format('operations: insert, update and delete, not %s', d ->> 'operations');
  elsif d -> 'operations' ? 'update' and tidings.watch_key(source) is null then
    problem := format('operations: %s has no primary key, by which an update''s old and new rows are joined', source);
  end if;
  if problem is not null then
    raise exception 'tidings.watch: %', problem using errcode = '22023';
  end if;
  perform tidings.watch_check_text(source, 'recipients', tidings.watch_text(d, 'recipients'));
  perform tidings.watch_check_text(source, p, tidings.watch_text(d, p))
  from unnest(array['type', 'title', 'message', 'condition', 'actor', 'data', 'event', 'key']) p where d ->> p is not null;
end $$;

-- One text. Read twice: as a statement of its own, where a bracket it does not open cannot be closed, and in
-- brackets, where no statement can end. What passes both cannot leave the place it is put in; comments end with the line
-- that is added, and quotes that stay open fail both. Nothing of it is executed.
create or replace function tidings.watch_check_text(source regclass, parameter text, expression text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = on
set standard_conforming_strings = on
as $$
declare
  schema text := (select relnamespace::regnamespace::text from pg_class where oid = source);
  probe text := schema || '.' || quote_ident('tidings watch check ' || pg_backend_pid());
  is_query boolean := parameter = 'recipients' and tidings.watch_is_query(expression);
  gives text;
  unknown_name text;
begin
  begin
    execute format('create function %s(new %s, old %2$s) returns void language sql set search_path = %s, pg_temp as %L',
      probe, source, schema, case when is_query then expression else 'select ' || expression end);
    execute format('drop function %s', probe);
  exception when undefined_column or undefined_table or ambiguous_column then
    unknown_name := sqlerrm;  -- it could be read: the second look says more precisely what is unknown
  end;
  gives := tidings.watch_type_of(source, expression);
  if unknown_name is not null then
    raise exception '%', unknown_name using errcode = '42703';
  end if;
  if parameter = 'condition' and gives <> 'boolean' or parameter in ('data', 'event') and gives not in ('jsonb', 'json', 'text')
    or parameter = 'recipients' and gives in ('jsonb', 'json') or gives = 'record' then
    raise exception 'it gives %, not %', gives,
      case parameter when 'condition' then 'boolean' when 'data' then 'jsonb' when 'event' then 'jsonb'
        when 'recipients' then 'a user id, an array of them, or rows' else 'text' end using errcode = '42804';
  end if;
exception when others then
  raise exception 'tidings.watch: %: %', parameter, sqlerrm using errcode = sqlstate, detail = expression,
    hint = format('It is SQL over new and old, the rows of %s. A fixed text wants quotes: ''''''Paid''''''. Names without a schema '
      'are looked up in schema %s.', source, schema);
end $$;

-- The type of an expression over new and old, found without a row. A query gives the type of its only column. The
-- search_path is that of the trigger function for this one statement, and for nothing of ours.
create or replace function tidings.watch_type_of(source regclass, expression text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
  statement text := format('select pg_catalog.pg_typeof((select (%s
) from (select * from %s where false) new, (select * from %2$s where false) old))', expression, source);
  path text := (select relnamespace::regnamespace::text from pg_class where oid = source) || ', pg_temp';
  gives text;
begin
  perform set_config('search_path', path, true);
  execute statement into gives;
  perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  return gives;
end $$;

create or replace function tidings.watch_is_query(expression text) returns boolean
language sql immutable
return expression ~* '^\s*(select|with|values|table)\M';

-- A text of the declaration as SQL: a type that is a plain word stands for itself.
create or replace function tidings.watch_text(d jsonb, parameter text) returns text
language sql immutable
return case when parameter = 'type' and d ->> 'type' ~ '^[A-Za-z_][A-Za-z0-9_:-]*$' and lower(d ->> 'type') <> 'null'
  then quote_literal(d ->> 'type') else d ->> parameter end;
