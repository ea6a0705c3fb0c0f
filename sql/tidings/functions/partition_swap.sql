-- The end of partition.sql: the new table takes the old one's name, and all that was bound to the old one by its number is made
-- again from what the catalogs say of it, the owner's own views, functions and triggers too. Running all functions again, as
-- an upgrade does, would lock the outbox and the domain's tables after this table, and writers lock them before.

-- What is to be said once the names are exchanged, in order; and what before. Read while the old names hold.
create or replace function tidings.partition_bound(out before text[], out after text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  old oid := 'tidings.notification'::regclass;
  types oid[] := (select array[c.reltype, y.typarray] from pg_class c join pg_type y on y.oid = c.reltype where c.oid = old);
begin
  -- functions that give or take a row of the table, by its type: dropped and made again, with owner and rights
  before := array(select format('drop function %s', p.oid::regprocedure) from pg_proc p
    where array[p.prorettype] <@ types or string_to_array(p.proargtypes::text, ' ')::oid[] && types or p.proallargtypes && types);
  after := array(
    select format('create or replace view %s%s as %s', c.oid::regclass,
      ' with (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid))
    from pg_class c where c.relkind = 'v' and c.oid in (
      select w.ev_class from pg_depend d join pg_rewrite w on w.oid = d.objid
      where d.classid = 'pg_rewrite'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = old) order by c.oid)
  || array(
    select s from pg_proc p cross join lateral (values
        (1, pg_get_functiondef(p.oid)), (2, format('alter function %s owner to %s', p.oid::regprocedure, p.proowner::regrole)),
        (3, format('revoke execute on function %s from public', p.oid::regprocedure)),
        (4, format('comment on function %s is %L', p.oid::regprocedure, obj_description(p.oid, 'pg_proc')))) as x(n, s)
    where p.oid in (select d.objid from pg_depend d where d.classid = 'pg_proc'::regclass
      and (d.refclassid = 'pg_class'::regclass and d.refobjid = old or d.refclassid = 'pg_type'::regclass and d.refobjid = any (types)))
    order by p.oid, n)
  || array(
    select format('grant execute on function %s to %s%s', p.oid::regprocedure,
      case a.grantee when 0 then 'public' else a.grantee::regrole::text end, case when a.is_grantable then ' with grant option' end)
    from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    where a.grantee <> p.proowner and p.oid in (select d.objid from pg_depend d where d.classid = 'pg_proc'::regclass
      and (d.refclassid = 'pg_class'::regclass and d.refobjid = old or d.refclassid = 'pg_type'::regclass and d.refobjid = any (types))))
  || array(
    select s from pg_trigger t cross join lateral (values (1, pg_get_triggerdef(t.oid)),
        (2, format('alter table tidings.notification %s trigger %I', case t.tgenabled when 'A' then 'enable always'
          when 'R' then 'enable replica' when 'D' then 'disable' else 'enable' end, t.tgname))) as x(n, s)
    where t.tgrelid = old and not t.tgisinternal and t.tgname not like 'partition\_note\_%' order by t.tgname, n)
  || array(
    select format('grant %s%s on tidings.notification to %s%s', a.privilege_type, a.columns,
      case a.grantee when 0 then 'public' else a.grantee::regrole::text end, case when a.is_grantable then ' with grant option' end)
    from (
      select c.relowner, null columns, e.* from pg_class c cross join lateral aclexplode(c.relacl) e where c.oid = old
      union all
      select c.relowner, format(' (%I)', t.attname), e.* from pg_class c join pg_attribute t on t.attrelid = c.oid
      cross join lateral aclexplode(t.attacl) e where c.oid = old) a
    where a.grantee <> a.relowner)
  || array(
    select format('comment on table tidings.notification is %L', d) from obj_description(old, 'pg_class') d where d is not null)
  || array(
    select format('comment on index tidings.%I is %L', c.relname, obj_description(c.oid, 'pg_class')) from pg_index i
    join pg_class c on c.oid = i.indexrelid where i.indrelid = old and obj_description(c.oid, 'pg_class') is not null);
end $$;

-- The same for publications, which since Postgres 15 may have a list of columns and a filter for a table.
create or replace function tidings.partition_published(out before text[], out after text[])
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  query text := $q$
    select array_agg(format('alter publication %I drop table tidings.notification', p.pubname)),
      array_agg(format('alter publication %I add table tidings.notification%s%s', p.pubname, COLUMNS, FILTER))
    from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where r.prrelid = 'tidings.notification'::regclass $q$;
  newer boolean := current_setting('server_version_num')::int >= 150000;
begin
  query := replace(query, 'COLUMNS', case when newer then $q$ (select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')'
    from pg_attribute a where a.attrelid = r.prrelid and a.attnum = any (r.prattrs::int2[])) $q$ else 'null' end);
  query := replace(query, 'FILTER', case when newer then $q$ ' where (' || pg_get_expr(r.prqual, r.prrelid) || ')' $q$ else 'null' end);
  execute query into before, after;
end $$;

-- Whether the table was altered since the new one was made of it: other columns, checks or indexes.
create or replace function tidings.partition_changed() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with shape as (
    select c.relname, array(select format('%s %s %s', attname, format_type(atttypid, atttypmod), attnotnull) from pg_attribute
        where attrelid = c.oid and attnum > 0 and not attisdropped order by attnum)
      || array(select conname || pg_get_constraintdef(k.oid) from pg_constraint k where conrelid = c.oid and contype = 'c' order by conname)
      || array(select regexp_replace(i.indexrelid::regclass::text, '_new$', '') from pg_index i where indrelid = c.oid order by 1) is_like
    from pg_class c where c.oid in ('tidings.notification'::regclass, to_regclass('tidings.notification_new'))
  )
  select count(distinct is_like) > 1 from shape
$$;

-- Exchanges the tables, in a transaction that holds the lock of the old one and has found the log empty. The old one stays as
-- tidings.notification_old.
create or replace function tidings.partition_swap() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set check_function_bodies = off
as $$
declare
  bound record;
  published record;
  statement text;
  one record;
begin
  lock table tidings.notification in access exclusive mode;
  if exists (select from tidings.partition_log) then
    raise exception 'tidings.partition_swap: the log is not empty' using errcode = '55000';
  end if;
  if tidings.partition_changed() then
    raise exception 'tidings.notification was altered since its partitioning began' using errcode = '55000',
      hint = 'Say `tidings partition --abort`, and begin again.';
  end if;
  select * into bound from tidings.partition_bound();
  select * into published from tidings.partition_published();
  foreach statement in array published.before || bound.before loop
    execute statement;
  end loop;
  for one in select tgname from pg_trigger where tgrelid = 'tidings.notification'::regclass and tgname like 'partition\_note\_%' loop
    execute format('drop trigger %I on tidings.notification', one.tgname);
  end loop;
  for one in select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = 'tidings.notification'::regclass and to_regclass(format('tidings.%I', c.relname || '_new')) is not null
  loop
    execute format('alter index tidings.%I rename to %I', one.name, one.name || '_old');
    execute format('alter index tidings.%I rename to %I', one.name || '_new', one.name);
  end loop;
  alter table tidings.notification rename to notification_old;
  alter table tidings.notification_new rename to notification;
  for one in select distinct a.grantee from pg_class c cross join lateral aclexplode(c.relacl) a
    where c.oid = 'tidings.notification'::regclass and a.grantee <> c.relowner
  loop  -- what default privileges gave
    execute format('revoke all on tidings.notification from %s', case one.grantee when 0 then 'public' else one.grantee::regrole::text end);
  end loop;
  foreach statement in array bound.after || published.after loop
    execute statement;
  end loop;
  drop table tidings.partition_log, tidings.partition_job;
end $$;

-- Leaves everything as it was before.
create or replace function tidings.partition_abort() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  one record;
begin
  for one in select tgname from pg_trigger where tgrelid = 'tidings.notification'::regclass and tgname like 'partition\_note\_%' loop
    execute format('drop trigger %I on tidings.notification', one.tgname);
  end loop;
  drop table if exists tidings.partition_log, tidings.partition_job, tidings.notification_new;
end $$;
