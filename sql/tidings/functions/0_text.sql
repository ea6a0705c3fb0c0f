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

-- The canonical notification, null for an entry that is an event alone. The producer's extra fields stand beside
-- the canonical ones, which always win.
create or replace function tidings.canonical(
  id bigint, type text, title text, message text, data jsonb, is_read boolean, archived boolean, created_at timestamptz
) returns jsonb
language sql stable parallel safe
return case when message is not null then
  coalesce(data - 'archived', '{}'::jsonb)
  || jsonb_build_object(
    'id', id, 'notification_id', id, 'title', coalesce(title, ''), 'message', message, 'notification_type', type,
    'is_read', is_read, 'created_at', tidings.utc(created_at), 'timestamp', tidings.utc(created_at),
    'data', coalesce(data, '{}'::jsonb))
  || case when archived then '{"archived": true}'::jsonb else '{}'::jsonb end
end;
