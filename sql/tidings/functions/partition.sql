-- Partitioning of tidings.notification by hash of user_id, without stopping anybody: `tidings partition` (src/db/partition.ts)
-- calls these in turn. A new table fills beside the old one; what is written meanwhile leaves its key in a log, from which the
-- row is copied anew. Writers only append there: they wait for nothing and can deadlock with nobody. Only the one process that
-- partitions ever writes to the new table. The log and the job exist while it is under way. For the table's owner alone.

-- What keeps the table from being partitioned, in words; no row: nothing.
create or replace function tidings.partition_obstacles() returns setof text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with t as (
    select c.*, array[c.oid, c.reltype, (select typarray from pg_type y where y.oid = c.reltype)] ids
    from pg_class c where c.oid = 'tidings.notification'::regclass
  )
  select 'it is no ordinary table of its own, it inherits or is inherited from' from t
  where relkind <> 'r' or relpersistence <> 'p' or exists (select from pg_inherits where t.oid in (inhrelid, inhparent))
  union all
  select 'it has row security or rules' from t where relrowsecurity or relhasrules
  union all
  select format('its replica identity is an index') from t where relreplident = 'i'
  union all
  select format('the column %I is generated', attname) from t join pg_attribute a on attrelid = t.oid
  where attnum > 0 and not attisdropped and (attidentity <> '' or attgenerated <> '')
  union all
  select format('the constraint %I of %s', conname, conrelid::regclass) from t join pg_constraint k on t.oid in (conrelid, confrelid)
  where contype in ('f', 'x')
  union all
  select format('the unique index %s does not have user_id in it', i.indexrelid::regclass) from t join pg_index i on indrelid = t.oid
  where indisunique and not (select attnum from pg_attribute where attrelid = t.oid and attname = 'user_id') = any (indkey::int2[])
  union all
  select format('the trigger %I sees whole statements row by row', tgname) from t join pg_trigger g on tgrelid = t.oid
  where not tgisinternal and tgtype & 1 = 1 and (tgoldtable is not null or tgnewtable is not null)
  union all
  select format('the publication %I belongs to another role', pubname) from t join pg_publication_rel on prrelid = t.oid
  join pg_publication p on p.oid = prpubid where not pg_has_role(pubowner, 'usage')
  union all
  select 'a subscription writes to it' from t join pg_subscription_rel on srrelid = t.oid
  union all
  select format('%s depends on it', pg_describe_object(case when v.oid is null then classid else 'pg_class'::regclass end,
    coalesce(v.oid, objid), case when v.oid is null then objsubid else 0 end)) from t join pg_depend d on refobjid = any (ids)
    left join pg_rewrite w on classid = 'pg_rewrite'::regclass and w.oid = objid left join pg_class v on v.oid = w.ev_class
  where refclassid in ('pg_class'::regclass, 'pg_type'::regclass) and deptype = 'n'
    and case classid when 'pg_rewrite'::regclass then v.relkind <> 'v'
      else classid not in ('pg_proc'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass,
        'pg_statistic_ext'::regclass, 'pg_publication_rel'::regclass) end
$$;

-- Notes which entries a statement wrote, in the writer's transaction.
create or replace function tidings.partition_note() returns trigger
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  case tg_op
  when 'INSERT' then insert into tidings.partition_log select user_id, id from written;
  when 'DELETE' then insert into tidings.partition_log select user_id, id from gone;
  when 'UPDATE' then insert into tidings.partition_log select user_id, id from written union select user_id, id from gone;
  else
    raise exception 'tidings.notification is being partitioned and cannot be truncated' using errcode = '55006',
      hint = 'Wait for `tidings partition` to end, or say `tidings partition --abort` first.';
  end case;
  return null;
end $$;

-- Makes the new table, the log and the job. The triggers come last: they wait until nobody is writing.
create or replace function tidings.partition_begin(partitions int) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  old pg_class;
  made record;
  owner text;
begin
  select * into old from pg_class where oid = 'tidings.notification'::regclass;
  owner := old.relowner::regrole::text;
  create table tidings.partition_log (user_id text not null, id bigint not null)
    with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, vacuum_truncate = off);
  create table tidings.partition_job (
    partitions int not null, filenode oid not null, next_block bigint not null, end_block bigint not null,
    copied bigint not null default 0, started_at timestamptz not null default clock_timestamp());
  create table tidings.notification_new (like tidings.notification including all excluding indexes) partition by hash (user_id);
  perform tidings.partition_shape(partitions);
  for made in select oid::regclass as name from pg_class
    where relnamespace = old.relnamespace and relname ~ '^(notification_(new|p\d+)|partition_(log|job))$' and relowner <> old.relowner
  loop
    execute format('alter table %s owner to %s', made.name, owner);
  end loop;
  create trigger partition_note_insert after insert on tidings.notification
    referencing new table as written for each statement execute function tidings.partition_note();
  create trigger partition_note_update after update on tidings.notification
    referencing old table as gone new table as written for each statement execute function tidings.partition_note();
  create trigger partition_note_delete after delete on tidings.notification
    referencing old table as gone for each statement execute function tidings.partition_note();
  create trigger partition_note_truncate before truncate on tidings.notification
    for each statement execute function tidings.partition_note();
  for made in select tgname as name from pg_trigger where tgrelid = old.oid and tgname like 'partition\_note\_%' loop
    execute format('alter table tidings.notification enable always trigger %I', made.name);
  end loop;
  -- from here on whoever writes leaves a note: what is written already lies below this
  insert into tidings.partition_job
  values (partitions, pg_relation_filenode(old.oid), 0, pg_relation_size(old.oid) / current_setting('block_size')::bigint);
end $$;

-- Partitions, keys, indexes and settings of the new table, as the old one has them.
create or replace function tidings.partition_shape(partitions int) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  old pg_class;
  space text;
  part text;
  one record;
begin
  select * into old from pg_class where oid = 'tidings.notification'::regclass;
  space := (select format(' tablespace %I', spcname) from pg_tablespace where oid = old.reltablespace);
  for one in select conname, pg_get_constraintdef(oid) def from pg_constraint where conrelid = old.oid and contype in ('p', 'u') loop
    execute format('alter table tidings.notification_new add constraint %I %s', one.conname || '_new', one.def);
  end loop;
  for one in
    select c.relname, i.indisunique, substr(pg_get_indexdef(c.oid), position(' USING ' in pg_get_indexdef(c.oid))) def
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where indrelid = old.oid and indisvalid and not exists (select from pg_constraint where conindid = c.oid and contype in ('p', 'u'))
  loop
    execute format('create %sindex %I on tidings.notification_new%s', case when one.indisunique then 'unique ' end,
      one.relname || '_new', one.def);
  end loop;
  for one in select attname, attstattarget, attoptions from pg_attribute
    where attrelid = old.oid and attnum > 0 and (coalesce(attstattarget, -1) <> -1 or attoptions is not null)
  loop
    if coalesce(one.attstattarget, -1) <> -1 then
      execute format('alter table tidings.notification_new alter column %I set statistics %s', one.attname, one.attstattarget);
    end if;
    if one.attoptions is not null then
      execute format('alter table tidings.notification_new alter column %I set (%s)', one.attname, array_to_string(one.attoptions, ', '));
    end if;
  end loop;
  for at in 0 .. partitions - 1 loop
    part := format('tidings.notification_p%s', lpad(at::text, 2, '0'));
    execute format('create table %s partition of tidings.notification_new for values with (modulus %s, remainder %s)%s%s',
      part, partitions, at, ' with (' || array_to_string(old.reloptions, ', ') || ')', space);
    if old.relreplident <> 'd' then
      execute format('alter table %s replica identity %s', part, case old.relreplident when 'f' then 'full' else 'nothing' end);
    end if;
  end loop;
end $$;
