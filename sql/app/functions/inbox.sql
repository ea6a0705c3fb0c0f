-- The domain's part of GET /api/inbox: what a client needs beside its notifications.

-- Users as friends are shown, with who of them is online; in the order given.
create or replace function app.friends_json(ids bigint[]) returns jsonb
language plpgsql stable
set search_path = app, pg_temp
as $$
declare
  online text[] := tidings.online(ids::text[]);
begin
  return coalesce((
    select jsonb_agg(jsonb_build_object('id', u.id, 'username', u.username,
      'friend_status', case when u.id::text = any (online) then 'online' else 'offline' end) order by f.n)
    from unnest(ids) with ordinality f(id, n) join app."user" u on u.id = f.id), '[]');
end $$;

-- {pending_invites, friend_requests, friends}; empty lists for a user unknown to the domain. Invites both ways, none
-- past its expiry; requests that wait for this user's answer. Newest first.
create or replace function app.inbox_json(user_id text) returns jsonb
language plpgsql stable security definer
set search_path = app, pg_temp
as $$
declare
  me bigint := app.known_id(user_id);
begin
  return jsonb_build_object(
    'pending_invites', coalesce((
      select jsonb_agg(app.invite_json(i) order by i.id desc) from app.invite i
      where i.status = 'pending' and (i.sender_id = me or i.receiver_id = me)
        and (i.expires_at is null or i.expires_at > clock_timestamp())), '[]'),
    'friend_requests', coalesce((
      select jsonb_agg(app.friend_request_json(f) order by f.id desc) from app.friendship f
      where f.status = 'pending' and f.addressee_id = me), '[]'),
    'friends', app.friends_json(array(
      select a::bigint from unnest(tidings.presence_audience(user_id)) a order by a::bigint)));
end $$;
