-- Things of the domain as JSON: one function each, used by triggers and by REST. Bodies are bound when created.

-- plpgsql keeps its plan; a SQL function that looks something up is planned again at every call (150 µs).
create or replace function app.user_ref(of_id bigint) returns jsonb
language plpgsql stable
set search_path = app, pg_temp
as $$ begin return (select jsonb_build_object('id', u.id, 'username', u.username) from app."user" u where u.id = of_id); end $$;

-- The canonical invite (CONTRACT section 3).
create or replace function app.invite_json(i app.invite) returns jsonb
language sql stable
return jsonb_build_object(
  'id', i.id, 'game', i.game, 'sender', app.user_ref(i.sender_id), 'receiver', app.user_ref(i.receiver_id),
  'status', i.status, 'created_at', tidings.utc(i.created_at), 'updated_at', tidings.utc(i.updated_at),
  'expires_at', tidings.utc(i.expires_at));

create or replace function app.message_json(m app.message) returns jsonb
language sql stable
return jsonb_build_object(
  'id', m.id, 'room_id', m.room_id, 'sender', app.user_ref(m.sender_id), 'content', m.content,
  'created_at', tidings.utc(m.created_at));

-- The members stop at a hundred: a list of rooms must not grow with their size.
create or replace function app.room_json(r app.room) returns jsonb
language sql stable
return jsonb_build_object(
  'id', r.id, 'kind', r.kind, 'name', r.name, 'task_id', r.task_id, 'creator', app.user_ref(r.creator_id),
  'member_count', (select count(*) from app.room_member m where m.room_id = r.id),
  'members', array(select app.user_ref(m.user_id) from app.room_member m where m.room_id = r.id order by m.user_id limit 100));

create or replace function app.task_json(t app.task) returns jsonb
language sql stable
return jsonb_build_object(
  'id', t.id, 'title', t.title, 'creator', app.user_ref(t.creator_id), 'assignee', app.user_ref(t.assignee_id),
  'status', t.status, 'status_reason', t.status_reason, 'due_at', tidings.utc(t.due_at),
  'created_at', tidings.utc(t.created_at), 'updated_at', tidings.utc(t.updated_at));

create or replace function app.attachment_json(a app.task_attachment) returns jsonb
language sql stable
return jsonb_build_object(
  'id', a.id, 'task_id', a.task_id, 'name', a.name, 'url', a.url, 'uploader', app.user_ref(a.uploader_id),
  'created_at', tidings.utc(a.created_at));

create or replace function app.friend_request_json(f app.friendship) returns jsonb
language sql stable
return jsonb_build_object(
  'id', f.id, 'from_user', app.user_ref(f.requester_id), 'to_user', app.user_ref(f.addressee_id), 'status', f.status,
  'created_at', tidings.utc(f.created_at), 'updated_at', tidings.utc(f.updated_at));
