-- From envelopes to NOTIFY. A NOTIFY is only a fast path: losing one costs the stream a read, never an entry.
--
-- Functions without a search_path of their own are called by those that have one, and by nobody else.

-- The envelope of a stored entry, and the one for an entry that does not fit a NOTIFY: its payload is read.
create or replace function tidings.entry_envelope(
  user_id text, id bigint, event jsonb, notification text, streamed boolean, created_at text
) returns text
language sql stable
return format('{"type":"notify","group":%1$s,"id":%2$s,"created_at":"%3$s"%4$s,"payload":{%5$s}}', to_json('user_' || user_id), id,
  created_at, case when streamed then '' else ',"streamed":false' end,
  concat_ws(',', '"event":' || event::text, '"notification":' || notification));

-- The same for what nearly every entry is: a notification without an event, on streams that are on. One pass over one
-- template, which saves a publishing transaction a tenth of its numbering.
create or replace function tidings.plain_envelope(
  user_id text, id bigint, type text, title text, message text, data jsonb, created_at text
) returns text
language sql stable
return format(
  '{"type":"notify","group":%1$s,"id":%2$s,"created_at":"%3$s","payload":{"notification":{"id":%2$s,"notification_id":%2$s,'
  '"title":%4$s,"message":%5$s,"notification_type":%6$s,"is_read":false,"created_at":"%3$s","timestamp":"%3$s","data":%7$s%8$s}}}',
  to_json('user_' || user_id), id, created_at, to_json(title), to_json(message), to_json(type), data, tidings.extra_fields(data));

create or replace function tidings.brief_envelope(user_id text, id bigint) returns text
language sql stable
return '{"type":"notify","group":' || to_json('user_' || user_id)::text || ',"id":' || id::text || '}';

-- The envelope of a transient event, null for none. Over the limit it travels by reference, so that its size never fails the writer.
create or replace function tidings.transient_envelope(group_name text, payload jsonb) returns text
language plpgsql strict
as $$
declare
  head text := '{"type":"notify","group":' || to_json(group_name)::text;
  envelope text := head || ',"payload":' || payload::text || '}';
  parcel_id bigint;
begin
  if octet_length(envelope) <= 7898 then
    return envelope;
  end if;
  insert into tidings.parcel (payload) values (transient_envelope.payload) returning id into parcel_id;
  return head || ',"parcel":' || parcel_id::text || '}';
end $$;

-- The text of a transaction's nth NOTIFY. Of equal ones Postgres keeps one: all but the first end in blanks that are their
-- number (as src/feed/announcer.ts has it).
create or replace function tidings.pack(envelopes text[], n int) returns text
language sql stable
return '[' || array_to_string(envelopes, ',') || ']' || case when n > 0 then translate(n::bit(32)::text, '01', E' \t') else '' end;

-- Packs envelopes into as few NOTIFYs as fit 7,900 bytes (Postgres takes 7,999), in order.
create or replace function tidings.notify_packed(envelopes text[]) returns void
language plpgsql
as $$
declare
  first int := 1;
  size int := 1;
  packs int := coalesce(substring(current_setting('tidings.packs', true) from '^\d{1,9}$')::int, 0);
  more int;
  settled text;
begin
  for at in 1 .. coalesce(cardinality(envelopes), 0) loop
    more := octet_length(envelopes[at]) + 1;
    if size + more > 7900 and at > first then
      settled := pg_notify('tidings', tidings.pack(envelopes[first : at - 1], packs));
      first := at;
      size := 1;
      packs := packs + 1;
    end if;
    size := size + more;
  end loop;
  if size > 1 then
    settled := pg_notify('tidings', tidings.pack(envelopes[first :], packs));
    settled := set_config('tidings.packs', (packs + 1)::text, true);
  end if;
end $$;

-- The doorbell. Postgres holds one lock for the whole cluster from a NOTIFY to the end of its commit, so notifying
-- writers commit one after another. A writer rings (notifies itself) while fewer than three others are doing so,
-- or while no relay is there to do it for it; otherwise it leaves its envelopes for the relay and commits freely.
-- 1953063017 is 'tidi'; key 0 belongs to the relay (see relay below), the keys from 4 on to the feeds (src/db/office.ts).
create or replace function tidings.may_ring() returns boolean
language sql volatile
return pg_try_advisory_xact_lock(1953063017, 1) or pg_try_advisory_xact_lock(1953063017, 2)
  or pg_try_advisory_xact_lock(1953063017, 3) or pg_try_advisory_xact_lock_shared(1953063017, 0);

-- Whether the WAL is read (by the relay of FEED=wal, or that of a bus): its session holds key 4 exclusively, and does so
-- only while all who want to hear are told by it. Stored entries then need no announcement, they are decoded from the
-- table. Where it is false it stays false for this transaction, which from then on holds the key shared.
create or replace function tidings.fed_by_wal() returns boolean
language sql volatile
return not pg_try_advisory_xact_lock_shared(1953063017, 4);

-- Announces what a transaction published. Where the WAL is read it travels there, in commit order with the entries and
-- without any lock. Otherwise by NOTIFY: over 90 % of the NOTIFY queue it stays silent, because a full queue
-- fails the writer's commit; streams then find the entries by their sweep. Nulls are passed over. Returns whether it
-- rang.
create or replace function tidings.announce(envelopes text[]) returns boolean
language plpgsql
as $$
begin
  envelopes := array_remove(envelopes, null);
  if coalesce(cardinality(envelopes), 0) = 0 then
    return false;
  end if;
  if tidings.fed_by_wal() then
    return pg_logical_emit_message(true, 'tidings', '[' || array_to_string(envelopes, ',') || ']') is not null;
  end if;
  if cardinality(envelopes) = 1 then
    return tidings.announce_one(envelopes[1]);
  end if;
  if not tidings.may_ring() then
    insert into tidings.unannounced (envelope) select unnest(envelopes);
    return false;
  end if;
  if pg_notification_queue_usage() > 0.9 then
    return false;
  end if;
  return tidings.notify_packed(envelopes) is not null;
end $$;

-- The same for the one envelope of a transaction, unless the WAL is read, which who makes it has looked at already. Null
-- is passed over.
create or replace function tidings.announce_one(envelope text) returns boolean
language plpgsql strict
as $$
begin
  if not tidings.may_ring() then
    insert into tidings.unannounced (envelope) values (announce_one.envelope);
    return false;
  end if;
  return pg_notification_queue_usage() <= 0.9 and pg_notify('tidings', envelope) is not null;
end $$;

-- What one instance decoded from the WAL, announced to all (FEED=wal): `lines` holds the text of a NOTIFY in each, no two
-- alike. Only when all transactions it is of, by their 32-bit ids, are seen by other sessions; else returns the snapshot
-- in which they were not. Nobody waits for this commit to be durable.
create or replace function tidings.announce_decoded(xids bigint[], lines text) returns text
language plpgsql
set search_path = tidings, pg_temp
as $$
declare
  seen pg_snapshot := pg_current_snapshot();
  xmax bigint := pg_snapshot_xmax(seen)::text::bigint;
begin
  if exists (
    select from unnest(xids) xid cross join lateral (select xmax - xid & 4294967295) age (age)
    where age = 0 or age > 2147483647 or not pg_visible_in_snapshot((xmax - age)::text::xid8, seen)) then
    return seen::text;
  end if;
  if pg_notification_queue_usage() > 0.9 then
    raise exception 'tidings: the NOTIFY queue is full' using errcode = '53000',
      hint = 'A session that listens does not read: see "tidings doctor".';
  end if;
  perform set_config('synchronous_commit', 'off', true);
  perform pg_notify('tidings', line) from string_to_table(lines, E'\n') line;
  return null;
end $$;

-- The relay: run every few milliseconds under traffic by the one instance that holds the session lock
-- (1953063017, 0). Announces what writers left, oldest first; returns how many envelopes it took.
--
-- It looks only at transactions that were not over when this session last saw the table empty. Otherwise it would
-- go through ever more dead rows, which vacuum may not remove while somebody's old snapshot is open.
create or replace function tidings.relay(most int default 2000) returns int
language plpgsql
set search_path = tidings, pg_temp
set enable_seqscan = off
as $$
declare
  since xid8 := coalesce(nullif(current_setting('tidings.relayed', true), ''), '0')::xid8;
  running xid8 := pg_snapshot_xmin(pg_current_snapshot());
  waiting tid[] := array(select ctid from unannounced where xid >= since order by xid limit most);
  envelopes text[];
begin
  if cardinality(waiting) > 0 then
    with taken as (
      delete from unannounced where ctid = any (waiting) returning n, envelope
    )
    select array_agg(envelope order by n) into envelopes from taken;
  end if;
  if cardinality(waiting) < most and running > since then
    perform set_config('tidings.relayed', running::text, false);
  end if;
  if envelopes is not null and pg_notification_queue_usage() <= 0.9 then
    perform notify_packed(envelopes);
  end if;
  return coalesce(cardinality(envelopes), 0);
end $$;
