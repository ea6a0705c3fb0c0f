-- How things look as text and JSON. Bodies are bound when created, so no search_path can bend them. They are stable
-- and not immutable, as what they call is: Postgres inlines them only then, and a SQL function that is not inlined is
-- planned again at every call (100 µs). (0_: the other files refer to these.)

-- Every timestamp everywhere: UTC, six digits, Z (CONTRACT section 2).
create or replace function tidings.utc(moment timestamptz) returns text
language sql stable strict parallel safe
return to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

-- A user's group.
create or replace function tidings.user_group(user_id text) returns text
language sql immutable strict parallel safe
return 'user_' || user_id;

-- Extra fields as they go on after other fields, without those that have a canonical meaning. Hardly anybody has such,
-- so to look for them first takes half the time of taking them away.
create or replace function tidings.without_canonical(data jsonb) returns jsonb
language plpgsql immutable strict parallel safe
as $$
begin
  return data - array['id', 'notification_id', 'title', 'message', 'notification_type', 'is_read', 'created_at', 'timestamp',
    'archived', 'data'];
end $$;

create or replace function tidings.extra_fields(data jsonb) returns text
language sql immutable parallel safe
return nullif(',' || substr(left(case when data ?| array['id', 'notification_id', 'title', 'message', 'notification_type',
  'is_read', 'created_at', 'timestamp', 'archived', 'data'] then tidings.without_canonical(data) else data end::text, -1), 2), ',');

-- The canonical notification (CONTRACT section 2) as JSON text, null for an entry that is an event alone. The
-- producer's extra fields stand beside the canonical ones, which always win. Put together as text, which takes half
-- the time of building a jsonb.
create or replace function tidings.notification_json(
  id bigint, type text, title text, message text, data jsonb, is_read boolean, archived boolean, created_at text
) returns text
language sql stable parallel safe
return case when message is not null then format(
  '{"id":%1$s,"notification_id":%1$s,"title":%2$s,"message":%3$s,"notification_type":%4$s,"is_read":%5$s,'
  '"created_at":"%6$s","timestamp":"%6$s"%7$s,"data":%8$s%9$s}',
  id, to_json(coalesce(title, '')), to_json(message), to_json(type), case when is_read then 'true' else 'false' end,
  created_at, case when archived then ',"archived":true' end, coalesce(data, '{}'::jsonb), tidings.extra_fields(data))
end;

create or replace function tidings.canonical(
  id bigint, type text, title text, message text, data jsonb, is_read boolean, archived boolean, created_at timestamptz
) returns jsonb
language sql stable parallel safe
return tidings.notification_json(id, type, title, message, data, is_read, archived, tidings.utc(created_at))::jsonb;
