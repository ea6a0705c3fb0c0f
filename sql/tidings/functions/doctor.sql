-- Whether heads and counters agree with the entries, and how to mend them. For `tidings doctor` and the drift metric.

-- What a user's inbox row should say, from the entries themselves. An entry that somebody deleted by hand leaves a hole no
-- stream can pass: the floor goes there, which sends cursors below it a reset.
create or replace function tidings.inbox_truth(
  of_user text, known_last bigint, known_floor bigint, out last_id bigint, out unread_count bigint, out floor_id bigint
) language plpgsql stable
set search_path = tidings, pg_temp
as $$
begin
  last_id := greatest(known_last, (select max(n.id) from notification n where n.user_id = of_user));
  unread_count := (select count(*) from notification n
    where n.user_id = of_user and n.message is not null and not n.is_read and n.archived_at is null);
  floor_id := known_floor;
  -- the search for the newest hole is long, and nearly never needed
  if (select count(*) from notification n where n.user_id = of_user and n.id > known_floor) <> last_id - known_floor then
    floor_id := (select max(hole) from (
      select n.id - 1 hole from notification n where n.user_id = of_user and n.id > known_floor + 1 and not exists (
        select from notification m where m.user_id = of_user and m.id = n.id - 1)
      union all select last_id where not exists (select from notification m where m.user_id = of_user and m.id = last_id)
      union all select known_floor) holes);
  end if;
end $$;

-- The next `most` users after one, and those of them whose inbox is wrong. No user left: `last_user` is null.
create or replace function tidings.inbox_drift(
  after_user text, most int, out checked int, out last_user text, out wrong jsonb
) language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
begin
  with users as (
    select u.user_id from (
      (select i.user_id from inbox i where i.user_id > after_user order by i.user_id limit most)
      union (  -- entries whose inbox row is gone, found by one index look-up per user
        with recursive seen(user_id) as (
          (select n.user_id from notification n where n.user_id > after_user order by n.user_id limit 1)
          union all
          select (select n.user_id from notification n where n.user_id > s.user_id order by n.user_id limit 1)
          from seen s where s.user_id is not null
        )
        select s.user_id from seen s where s.user_id is not null limit most)
    ) u order by u.user_id limit most
  ), compared as (
    select u.user_id, i.last_id, i.unread_count, i.floor_id, t.last_id true_last, t.unread_count true_unread, t.floor_id true_floor
    from users u left join inbox i on i.user_id = u.user_id
    cross join lateral inbox_truth(u.user_id, coalesce(i.last_id, 0), coalesce(i.floor_id, 0)) t
  )
  select count(*), max(c.user_id), jsonb_agg(jsonb_build_object('user_id', c.user_id, 'last_id', c.last_id,
      'unread_count', c.unread_count, 'floor_id', c.floor_id, 'true_last_id', c.true_last, 'true_unread_count', c.true_unread,
      'true_floor_id', c.true_floor) order by c.user_id)
    filter (where (c.last_id, c.unread_count, c.floor_id) is distinct from (c.true_last, c.true_unread, c.true_floor))
  into checked, last_user, wrong from compared c;
end $$;

-- Sets a user's inbox row to the truth, under the lock that numbering takes: a transaction that has published, read or
-- pruned and not yet committed changes the row by its own part afterwards. Tells the user's streams the count. Returns
-- whether anything was wrong.
create or replace function tidings.recount(of_user text) returns boolean
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  mine inbox;
  truth record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'tidings.recount: wants READ COMMITTED, to see what others committed while it waited' using errcode = '25001';
  end if;
  insert into inbox (user_id) select of_user where exists (select from notification n where n.user_id = of_user)
  on conflict do nothing;
  select * into mine from inbox i where i.user_id = of_user for update;
  if not found then
    return false;
  end if;
  select * into truth from inbox_truth(of_user, mine.last_id, mine.floor_id);
  if (truth.last_id, truth.unread_count, truth.floor_id) = (mine.last_id, mine.unread_count, mine.floor_id) then
    return false;
  end if;
  update inbox i set last_id = truth.last_id, unread_count = truth.unread_count, floor_id = truth.floor_id
  where i.user_id = of_user;
  perform notify_user(of_user, jsonb_build_object('type', 'unread_count', 'data', unread(of_user)));
  return true;
end $$;

-- Compares the count of some inboxes picked at random, by the pages of the table they lie on. Cheap enough for every
-- scrape of the metrics: `most` recounts over the index of the unread.
create or replace function tidings.drift_sample(most int default 5, out sampled int, out drifted int)
language plpgsql volatile security definer
set search_path = tidings, pg_temp
as $$
declare
  page bigint := floor(random() * greatest(1, pg_relation_size('tidings.inbox') / current_setting('block_size')::bigint));
begin
  select count(*), count(*) filter (where s.unread_count <> (
    select count(*) from notification n
    where n.user_id = s.user_id and n.message is not null and not n.is_read and n.archived_at is null))
  into sampled, drifted
  from (select i.user_id, i.unread_count from inbox i
    where i.ctid >= format('(%s,0)', page)::tid and i.ctid < format('(%s,0)', page + 1)::tid order by random() limit most) s;
end $$;

-- Staged rows that were left behind by a commit which did not number them (a restore with triggers switched off). Only
-- committed rows can be seen, and a commit leaves none.
create or replace function tidings.stranded() returns bigint
language sql stable security definer
set search_path = tidings, pg_temp
as $$ select count(*) from outbox $$;

-- Stages them anew, in their order, to be numbered when this transaction commits. Returns how many.
create or replace function tidings.restage() returns bigint
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  moved bigint;
  left_behind outbox[];
begin
  -- as it is, deleting a head would number it under a transaction that is long over
  update outbox set head = false where head and xid <> pg_current_xact_id();
  with gone as (delete from outbox where xid <> pg_current_xact_id() returning outbox)
  select array_agg(g.outbox order by (g.outbox).n) into left_behind from gone g;
  insert into outbox (kind, target, event, type, title, message, data, key, delta, floor)
  select o.kind, o.target, o.event, o.type, o.title, o.message, o.data, o.key, o.delta, o.floor
  from unnest(left_behind) o order by o.n;
  get diagnostics moved = row_count;
  return moved;
end $$;
