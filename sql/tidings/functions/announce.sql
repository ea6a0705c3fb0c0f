-- From envelopes to NOTIFY. A NOTIFY is only a fast path: losing one costs the stream a read, never an entry.

-- The envelope of a stored entry. What does not fit a NOTIFY (7,900 bytes) goes without payload and is read.
create or replace function tidings.entry_envelope(
  user_id text, id bigint, event jsonb, notification jsonb, streamed boolean, created_at timestamptz
) returns text
language plpgsql immutable
set search_path = tidings, pg_temp
as $$
declare
  head text := '{"type":"notify","group":' || to_json('user_' || user_id)::text || ',"id":' || id;
  full_text text := head || ',"created_at":"' || tidings.utc(created_at) || '"'
    || case when streamed then '' else ',"streamed":false' end
    || ',"payload":{' || concat_ws(',', '"event":' || event::text, '"notification":' || notification::text) || '}}';
begin
  return case when octet_length(full_text) <= 7898 then full_text else head || '}' end;
end $$;

-- The envelope of a transient event; `parcel` is where a payload over the limit was put.
create or replace function tidings.transient_envelope(group_name text, payload jsonb, parcel bigint) returns text
language sql immutable parallel safe
return '{"type":"notify","group":' || to_json(group_name)::text
  || case when parcel is null then ',"payload":' || payload::text else ',"parcel":' || parcel::text end || '}';

-- Packs envelopes into as few NOTIFYs as fit, in order.
create or replace function tidings.notify_packed(envelopes text[]) returns void
language plpgsql
set search_path = tidings, pg_temp
as $$
declare
  pack text := '';
  size int := 0;
  one text;
begin
  foreach one in array envelopes loop
    if size > 0 and size + octet_length(one) + 3 > 7900 then
      perform pg_notify('tidings', '[' || pack || ']');
      pack := '';
      size := 0;
    end if;
    pack := case when size = 0 then one else pack || ',' || one end;
    size := size + octet_length(one) + 1;
  end loop;
  if size > 0 then
    perform pg_notify('tidings', '[' || pack || ']');
  end if;
end $$;

-- The doorbell. Postgres holds one lock for the whole cluster from a NOTIFY to the end of its commit, so notifying
-- writers commit one after another. A writer rings (notifies itself) while fewer than three others are doing so,
-- or while no relay is there to do it for it; otherwise it leaves its envelopes for the relay and commits freely.
-- 1953063017 is 'tidi'; key 0 belongs to the relay (see relay below).
create or replace function tidings.may_ring() returns boolean
language sql volatile
return pg_try_advisory_xact_lock(1953063017, 1) or pg_try_advisory_xact_lock(1953063017, 2)
  or pg_try_advisory_xact_lock(1953063017, 3) or pg_try_advisory_xact_lock_shared(1953063017, 0);

-- Announces what a transaction published. Over 90 % of the NOTIFY queue it stays silent, because a full queue
-- fails the writer's commit; streams then find the entries by their sweep.
create or replace function tidings.announce(envelopes text[]) returns void
language plpgsql
set search_path = tidings, pg_temp
as $$
begin
  if envelopes is null or pg_notification_queue_usage() > 0.9 then
    return;
  end if;
  if tidings.may_ring() then
    perform tidings.notify_packed(envelopes);
  else
    insert into unannounced (envelope) select unnest(envelopes);
  end if;
end $$;

-- The relay: run every few milliseconds under traffic by the one instance that holds the session lock
-- (1953063017, 0). Announces what writers left, oldest first; returns how many envelopes it took.
create or replace function tidings.relay(most int default 2000) returns int
language plpgsql
set search_path = tidings, pg_temp
as $$
declare
  envelopes text[];
begin
  with taken as (
    delete from unannounced where ctid = any (array(select ctid from unannounced limit most for update skip locked))
    returning n, envelope
  )
  select array_agg(envelope order by n) into envelopes from taken;
  if envelopes is null then
    return 0;
  end if;
  if pg_notification_queue_usage() <= 0.9 then
    perform tidings.notify_packed(envelopes);
  end if;
  return cardinality(envelopes);
end $$;
