-- The watches there are, read from the catalogs: their trigger functions, and those functions' comments.

-- The comment of a function as the declaration of a watch; null where it is none. (A comment is anybody's text.)
create or replace function tidings.watch_declaration(of_function oid) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return obj_description(of_function, 'pg_proc')::jsonb;
exception when invalid_text_representation then
  return null;
end $$;

-- The trigger functions of watches, with their table: the one that is no partition of another.
create or replace view tidings.watch_functions as
  select p.oid::regprocedure as function, p.proowner as owner, d.declaration, t.source, t.disabled
  from pg_proc p
  cross join lateral (select tidings.watch_declaration(p.oid) as declaration) d
  left join lateral (
    select t.tgrelid::regclass as source, t.tgenabled = 'D' as disabled
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where t.tgfoid = p.oid order by c.relispartition, t.tgrelid limit 1
  ) t on true
  where p.proname = 'tidings watch ' || (d.declaration ->> 'name') and p.prorettype = 'trigger'::regtype;

-- All watches, for people. `state` is 'active', or says what is wrong and what to do.
create or replace view tidings.watches as
  select declaration ->> 'name' as name, coalesce(source::text, declaration ->> 'source') as source,
    array(select jsonb_array_elements_text(declaration -> 'operations')) as operations,
    declaration ->> 'recipients' as recipients, declaration ->> 'type' as type, declaration ->> 'title' as title,
    declaration ->> 'message' as message, declaration ->> 'condition' as condition, declaration ->> 'actor' as actor,
    declaration ->> 'data' as data, declaration ->> 'event' as event, declaration ->> 'key' as key,
    owner::regrole as owner,
    case
      when source is null then 'broken: the table is gone; tidings.unwatch ends it'
      when disabled then 'disabled: its trigger is switched off on the table'
      when missing > 0 then missing || ' partitions without triggers: run tidings.refresh_watch'
      else 'active'
    end as state
  from tidings.watch_functions w
  cross join lateral (
    select count(*) as missing from tidings.watch_relations(w.source) r
    where not exists (select from pg_trigger t where t.tgrelid = r and t.tgfoid = w.function::oid)) m;
