-- Numbering of one to nine staged rows, row by row: nearly every transaction. Called by tidings.number alone, under
-- its search_path; they set none of their own, which would cost more than the work.

-- Whether the user has an entry of this key. Locks the inbox and changes nothing: two writers of one key must not both
-- find it missing.
create or replace function tidings.has_key(of_user text, of_key text) returns boolean
language plpgsql
as $$
begin
  insert into tidings.inbox as i (user_id) values (of_user) on conflict (user_id) do update set last_id = i.last_id where false;
  return exists (select from tidings.notification n where n.user_id = of_user and n.key = of_key);
end $$;

-- Counts an entry of any kind, and mails it where its user wants that. Returns its message, null where the type is muted,
-- whether its stream is off, and its id: null where nothing is to be stored, a muted notification or a key the user has.
create or replace function tidings.count_entry(
  o tidings.outbox, out message text, out off boolean, out entry_id bigint, out moment timestamptz
)
language plpgsql
as $$
declare
  mail boolean;
  muted boolean;
begin
  select not p.stream, p.email, p.mute into off, mail, muted
  from tidings.preference p where p.user_id = o.target and p.type = o.type;
  if o.message is null and o.event is null then
    raise exception 'tidings: an entry wants a message, or an event, or both' using errcode = '23502';
  end if;
  if muted and o.event is null then
    return;
  end if;
  if o.key is not null then
    if tidings.has_key(o.target, o.key) then
      return;
    end if;
  end if;
  if muted is not true then
    message := o.message;
  end if;
  insert into tidings.inbox as i (user_id, last_id, unread_count) values (o.target, 1, (count_entry.message is not null)::int)
  on conflict (user_id) do update set last_id = i.last_id + 1, unread_count = i.unread_count + excluded.unread_count
  returning i.last_id, clock_timestamp() into entry_id, moment;
  if mail and message is not null then
    insert into tidings.email (user_id, id, type, created_at, next_at) values (o.target, entry_id, o.type, moment, moment);
  end if;
end $$;

-- An entry of one user; returns its envelope, null where nothing is to be announced: it is not stored, or heard of by the
-- WAL. Every expression and statement here is prepared anew in each transaction, which is most of what it costs: few and
-- short ones, and what is rare in a branch of its own.
create or replace function tidings.number_entry(o tidings.outbox) returns text
language plpgsql
as $$
declare
  off boolean;
  entry_id bigint;
  moment timestamptz;
  created_at text;
  envelope text;
begin
  -- what nearly every entry is: without a key, of a user who has an inbox and no wishes about its type. Not in the `where`,
  -- where it would make a plan for each transaction seem cheaper than one for all.
  if o.message is not null and o.key is null then
    update tidings.inbox i set last_id = i.last_id + 1, unread_count = i.unread_count + 1
    where i.user_id = o.target
      and not exists (select from tidings.preference p where p.user_id = o.target and p.type = o.type)
    returning i.last_id, clock_timestamp() into entry_id, moment;
  end if;
  if entry_id is null then
    select c.message, c.off, c.entry_id, c.moment into o.message, off, entry_id, moment from tidings.count_entry(o) c;
    if entry_id is null then
      return null;
    end if;
  end if;
  insert into tidings.notification (user_id, id, event, type, title, message, data, streamed, key, actor, created_at)
  values (o.target, entry_id, o.event, o.type, o.title, o.message, o.data, off is not true, o.key,
    nullif(current_setting('tidings.actor', true), ''), moment);
  if tidings.fed_by_wal() then
    return null;
  end if;
  if o.event is null and o.title is not null and o.data is not null and off is not true then
    envelope := tidings.plain_envelope(o.target, entry_id, o.type, o.title, o.message, o.data, tidings.utc(moment));
  else
    created_at := tidings.utc(moment);
    envelope := tidings.entry_envelope(o.target, entry_id, o.event, tidings.notification_json(entry_id, o.type, o.title, o.message,
      o.data, false, false, created_at), off is not true, created_at);
  end if;
  if octet_length(envelope) > 7898 then
    return tidings.brief_envelope(o.target, entry_id);
  end if;
  return envelope;
end $$;

-- Any staged row; returns its envelope, null where nobody is to hear of it.
create or replace function tidings.number_row(o tidings.outbox) returns text
language plpgsql
as $$
begin
  case o.kind
  when 'e' then
    return tidings.number_entry(o);
  when 't' then
    return tidings.transient_envelope(o.target, o.event);
  when 'c' then
    return o.event || jsonb_build_object('group', o.target);
  when 'r', 'f' then
    insert into tidings.inbox as i (user_id, unread_count, floor_id) values (o.target, o.delta, o.floor)
    on conflict (user_id) do update set unread_count = i.unread_count + excluded.unread_count,
      floor_id = greatest(i.floor_id, excluded.floor_id);
    return tidings.transient_envelope('user_' || o.target, o.event);
  end case;
end $$;

create or replace function tidings.number_few(o tidings.outbox) returns text[]
language plpgsql
as $$
declare
  staged tidings.outbox[] := o || array(select s from tidings.outbox s where s.xid = o.xid and not s.head order by s.n);
  one tidings.outbox;
  users text[] := '{}';
  recount text[] := '{}';
  envelopes text[] := '{}';
begin
  delete from tidings.outbox s where s.xid = o.xid and not s.head;
  foreach one in array staged loop
    if one.kind in ('e', 'r', 'f') and not one.target = any (users) then
      users := users || one.target::text;
    end if;
  end loop;
  if cardinality(users) > 1 then
    -- locks all in the one order, and changes nothing
    insert into tidings.inbox as i (user_id) select u from unnest(users) u order by u
    on conflict (user_id) do update set last_id = i.last_id where false;
  end if;
  foreach one in array staged loop
    envelopes := envelopes || tidings.number_row(one);
    if one.delta <> 0 and not one.target = any (recount) then
      recount := recount || one.target::text;
    end if;
  end loop;
  -- after all are changed, so that counts by type agree with the count
  foreach one.target in array recount loop
    envelopes := envelopes || tidings.unread_envelope(one.target);
  end loop;
  return envelopes;
end $$;

-- {count, by_type} of a user.
create or replace function tidings.unread(of_user text) returns jsonb
language plpgsql stable
set search_path = tidings, pg_temp
as $$
begin
  return jsonb_build_object(
    'count', coalesce((select unread_count from inbox where user_id = of_user), 0),
    'by_type', coalesce((select jsonb_object_agg(type, many) from (
      select type, count(*) many from notification
      where user_id = of_user and message is not null and not is_read and archived_at is null group by type) by_type), '{}'));
end $$;

create or replace function tidings.unread_envelope(of_user text) returns text
language plpgsql
as $$
begin
  return tidings.transient_envelope('user_' || of_user, jsonb_build_object('type', 'unread_count', 'data', tidings.unread(of_user)));
end $$;
