-- What became of one entry, for `tidings explain`. `state` is 'stored'; 'pruned' (below the floor of retention); 'future' (no such id yet);
-- 'missing' (a hole, see tidings doctor). The rest is there for stored entries alone.
create or replace function tidings.explain(of_user text, of_id bigint) returns jsonb
language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
declare
  box inbox;
  entry notification;
  mail email;
  wish preference;
begin
  select * into box from inbox i where i.user_id = of_user;
  select * into entry from notification n where n.user_id = of_user and n.id = of_id;
  if entry.id is null then
    return jsonb_build_object('state', case when of_id > coalesce(box.last_id, 0) then 'future'
      when of_id <= box.floor_id then 'pruned' else 'missing' end,
      'last_id', coalesce(box.last_id, 0), 'floor_id', coalesce(box.floor_id, 0));
  end if;
  select * into mail from email e where e.user_id = of_user and e.id = of_id;
  select * into wish from preference p where p.user_id = of_user and p.type = entry.type;
  return jsonb_build_object(
    'state', 'stored', 'last_id', box.last_id, 'floor_id', box.floor_id,
    'type', entry.type, 'title', entry.title, 'message', entry.message, 'data', entry.data, 'event', entry.event,
    'actor', entry.actor, 'key', entry.key, 'committed_at', utc(entry.created_at),
    'streamed', entry.streamed, 'delivered', box.delivered_id >= of_id, 'delivered_id', box.delivered_id,
    'open_streams_on', cardinality(coalesce((select p.instances from presence p where p.user_id = of_user), '{}')),
    'is_read', entry.is_read, 'read_at', utc(entry.read_at), 'archived_at', utc(entry.archived_at),
    'preference', jsonb_build_object('stream', coalesce(wish.stream, true), 'email', coalesce(wish.email, false), 'mute', coalesce(wish.mute, false)),
    'email', case when mail.id is not null then jsonb_build_object('state', mail.state, 'attempts', mail.attempts,
      'next_at', utc(mail.next_at), 'first_try', mail.next_at = mail.created_at, 'sent_at', utc(mail.sent_at),
      'message_id', mail.message_id, 'last_error', mail.last_error) end);
end $$;
