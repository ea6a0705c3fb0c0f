-- The copying half of partition.sql: rows in the order they lie on disk, then again what its log names.

-- Copies the next blocks, about `most` rows. In the order of the disk, and not of the key: that reads each page once, and what is
-- pruned together stays together. Returns how many rows it copied, and which share of the table is done: 1 is all.
create or replace function tidings.partition_copy(most int, out copied bigint, out done float8)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  job tidings.partition_job;
  until_block bigint;
begin
  lock table tidings.notification in access share mode;
  select * into job from tidings.partition_job;
  if pg_relation_filenode('tidings.notification'::regclass) <> job.filenode then
    -- rewritten (VACUUM FULL, CLUSTER): rows lie elsewhere now. What is copied already is passed over.
    job.next_block := 0;
    job.copied := 0;
    job.filenode := pg_relation_filenode('tidings.notification'::regclass);
    job.end_block := pg_relation_size('tidings.notification'::regclass) / current_setting('block_size')::bigint;
  end if;
  until_block := least(job.end_block, job.next_block
    + ceil(most / case when job.next_block = 0 then 30 else greatest(1, job.copied / job.next_block::float8) end));
  insert into tidings.notification_new select * from tidings.notification
  where ctid >= format('(%s,0)', job.next_block)::tid and ctid < format('(%s,0)', until_block)::tid
  on conflict (user_id, id) do nothing;  -- the log was faster
  get diagnostics copied = row_count;
  done := case when until_block < job.end_block then until_block / job.end_block::float8 else 1 end;
  update tidings.partition_job set filenode = job.filenode, end_block = job.end_block, next_block = until_block,
    copied = job.copied + partition_copy.copied;
end $$;

-- Takes up to `most` notes out of the log, and makes those rows of the new table what they are now. In whatever order: each note says
-- which row to look at, not what happened. Returns how many notes it took, and its transaction.
create or replace function tidings.partition_follow(most int, out noted bigint, out xact xid)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
  users text[];
  ids bigint[];
begin
  with taken as (
    delete from tidings.partition_log where ctid = any (array(select ctid from tidings.partition_log limit most))
    returning user_id, id
  )
  select array_agg(user_id), array_agg(id), sum(many) into users, ids, noted
  from (select t.user_id, t.id, count(*) many from taken t group by t.user_id, t.id) each;
  noted := coalesce(noted, 0);
  xact := pg_current_xact_id()::xid;
  if noted = 0 then
    return;
  end if;
  delete from tidings.notification_new n using unnest(users, ids) as k(user_id, id) where n.user_id = k.user_id and n.id = k.id;
  -- a key that was given up by one entry and taken by another: the first one's note is still to come
  delete from tidings.notification_new n
  using unnest(users, ids) as k(user_id, id) join tidings.notification o on o.user_id = k.user_id and o.id = k.id
  where n.user_id = o.user_id and n.key = o.key;
  insert into tidings.notification_new
  select o.* from unnest(users, ids) as k(user_id, id) join tidings.notification o on o.user_id = k.user_id and o.id = k.id;
end $$;

-- Compares both tables for the next `most` users, by what their indexes hold: entries, the sum of their ids, the unread. Users with a
-- note in the log are left out and counted as busy; for all others every difference is an error. No user left: `last_user` is null.
create or replace function tidings.partition_compare(
  after_user text, most int, out last_user text, out entries bigint, out busy bigint, out wrong text[]
) language plpgsql stable
set search_path = pg_catalog, pg_temp
set jit = off
as $$
declare
  upto text;
begin
  last_user := (select user_id from tidings.inbox i where i.user_id > after_user order by i.user_id offset most - 1 limit 1);
  upto := coalesce(last_user, (select max(user_id) from (
    select max(user_id) user_id from tidings.notification union all select max(user_id) from tidings.notification_new) both_tables));
  with noted as (
    select distinct l.user_id from tidings.partition_log l where l.user_id > after_user and l.user_id <= upto
  ), old as (
    select o.user_id, count(*) many, sum(o.id) ids from tidings.notification o
    where o.user_id > after_user and o.user_id <= upto group by o.user_id
  ), new as (
    select n.user_id, count(*) many, sum(n.id) ids from tidings.notification_new n
    where n.user_id > after_user and n.user_id <= upto group by n.user_id
  ), old_unread as (
    select o.user_id, count(*) many from tidings.notification o
    where o.user_id > after_user and o.user_id <= upto and o.message is not null and not o.is_read and o.archived_at is null
    group by o.user_id
  ), new_unread as (
    select n.user_id, count(*) many from tidings.notification_new n
    where n.user_id > after_user and n.user_id <= upto and n.message is not null and not n.is_read and n.archived_at is null
    group by n.user_id
  ), compared as (
    select user_id, old.many, (old.many, old.ids, old_unread.many) is distinct from (new.many, new.ids, new_unread.many) differs
    from old full join new using (user_id) full join old_unread using (user_id) full join new_unread using (user_id)
  )
  select coalesce(sum(c.many), 0), (select count(*) from noted),
    array_agg(c.user_id) filter (where c.differs and not exists (select from noted where noted.user_id = c.user_id))
  into entries, busy, wrong from compared c;
end $$;

-- Client transactions that may still look at the table with a snapshot older than this moment and this transaction. They would miss what was
-- copied after it. Those that wait for a lock are writers that take a new one.
create or replace function tidings.partition_readers(moment timestamptz, since xid, but_not int[]) returns table (pid int, began timestamptz)
language sql volatile
set search_path = pg_catalog, pg_temp
as $$
  select a.pid, a.xact_start from pg_stat_activity a
  where a.datname = current_database() and a.backend_type = 'client backend' and a.pid <> all (but_not)
    and a.xact_start < moment and age(a.backend_xmin) >= age(since) and a.wait_event_type is distinct from 'Lock'
  order by a.xact_start
$$;
