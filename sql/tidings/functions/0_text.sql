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

-- Extra fields as they go on after other fields, without those that have a canonical meaning.
create or replace function tidings.extra_fields(data jsonb) returns text
language sql immutable parallel safe
return case when data <> '{}'::jsonb then
  nullif(',' || substr(left((data - array['id', 'notification_id', 'title', 'message', 'notification_type', 'is_read',
    'created_at', 'timestamp', 'archived', 'data'])::text, -1), 2), ',')
end;

-- The canonical notification (CONTRACT section 2) as JSON text, null for an entry that is an event alone. The
-- producer's extra fields stand beside the canonical ones, which always win. Put together as text, which takes half
-- the time of building a jsonb.
create or replace function tidings.notification_json(
  id bigint, type text, title text, message text, data jsonb, is_read boolean, archived boolean, created_at text
) returns text
language sql stable parallel safe
return case when message is not null then concat(
  '{"id":', id, ',"notification_id":', id, ',"title":', to_json(coalesce(title, '')), ',"message":', to_json(message),
  ',"notification_type":', to_json(type), case when is_read then ',"is_read":true' else ',"is_read":false' end,
  ',"created_at":"', created_at, '","timestamp":"', created_at, case when archived then '","archived":true' else '"' end,
  ',"data":', coalesce(data, '{}'::jsonb), tidings.extra_fields(data), '}')
end;

create or replace function tidings.canonical(
  id bigint, type text, title text, message text, data jsonb, is_read boolean, archived boolean, created_at timestamptz
) returns jsonb
language sql stable parallel safe
return tidings.notification_json(id, type, title, message, data, is_read, archived, tidings.utc(created_at))::jsonb;
