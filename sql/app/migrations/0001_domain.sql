-- The reference domain: users, friends, rooms and messages, invites, tasks. The schema exists already.
-- Applications of their own leave it out (DOMAIN=off) and attach their own tables with tidings.watch.

create table app."user" (
  id bigint generated always as identity,
  username text not null,
  email text,
  constraint user_pkey primary key (id),
  constraint user_username unique (username),
  constraint user_username_form check (username <> '' and length(username) <= 150)
);

create table app.task (
  id bigint generated always as identity,
  title text not null,
  creator_id bigint not null,
  assignee_id bigint,
  status text not null default 'todo',
  status_reason text,
  due_at timestamptz,
  created_at timestamptz not null default statement_timestamp(),
  updated_at timestamptz not null default statement_timestamp(),
  due_set_at timestamptz not null default statement_timestamp(),
  reminded_for timestamptz,
  overdue_for timestamptz,
  constraint task_pkey primary key (id),
  constraint task_creator foreign key (creator_id) references app."user" on delete cascade,
  constraint task_assignee foreign key (assignee_id) references app."user" on delete set null,
  constraint task_status check (status in ('todo', 'in_progress', 'done', 'cancelled'))
);
comment on column app.task.due_set_at is 'when due_at got its present value: no reminder for one set inside the reminder window';
comment on column app.task.reminded_for is 'the due_at a reminder was sent for, or skipped; another due_at re-arms';
comment on column app.task.overdue_for is 'the due_at an overdue notification was sent for; another due_at re-arms';
create index task_creator on app.task (creator_id);
create index task_assignee on app.task (assignee_id);
-- What the scheduler still has to do, and nothing of the past.
create index task_overdue on app.task (due_at)
  where status in ('todo', 'in_progress') and overdue_for is distinct from due_at;
create index task_reminder on app.task (due_at)
  where status in ('todo', 'in_progress') and reminded_for is distinct from due_at;

create table app.task_attachment (
  id bigint generated always as identity,
  task_id bigint not null,
  name text not null,
  url text not null,
  uploader_id bigint,
  created_at timestamptz not null default clock_timestamp(),
  constraint task_attachment_pkey primary key (id),
  constraint task_attachment_task foreign key (task_id) references app.task on delete cascade,
  constraint task_attachment_uploader foreign key (uploader_id) references app."user" on delete set null
);
create index task_attachment_task on app.task_attachment (task_id);

create table app.room (
  id bigint generated always as identity,
  kind text not null,
  name text,
  task_id bigint,
  creator_id bigint,
  direct_key text,
  constraint room_pkey primary key (id),
  constraint room_kind check (kind in ('direct', 'task', 'group')),
  constraint room_task foreign key (task_id) references app.task on delete cascade,
  constraint room_creator foreign key (creator_id) references app."user" on delete set null,
  constraint room_direct_key unique (direct_key)
);
create index room_task on app.room (task_id) where task_id is not null;
comment on column app.room.creator_id is 'who made it over REST and may remove others; null: every member may';
comment on column app.room.direct_key is 'the two user ids of a direct room made over REST, smaller first: 1:2; keeps it the only one';

create table app.room_member (
  room_id bigint not null,
  user_id bigint not null,
  constraint room_member_pkey primary key (room_id, user_id),
  constraint room_member_room foreign key (room_id) references app.room on delete cascade,
  constraint room_member_user foreign key (user_id) references app."user" on delete cascade
);
create index room_member_user on app.room_member (user_id);

create table app.message (
  id bigint generated always as identity,
  room_id bigint not null,
  sender_id bigint not null,
  content text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint message_pkey primary key (id),
  constraint message_room foreign key (room_id) references app.room on delete cascade,
  constraint message_sender foreign key (sender_id) references app."user" on delete cascade
);
create index message_room on app.message (room_id, id);

create table app.invite (
  id bigint generated always as identity,
  sender_id bigint not null,
  receiver_id bigint not null,
  game text not null,
  status text not null default 'pending',
  expires_at timestamptz,
  created_at timestamptz not null default statement_timestamp(),
  updated_at timestamptz not null default statement_timestamp(),
  constraint invite_pkey primary key (id),
  constraint invite_sender foreign key (sender_id) references app."user" on delete cascade,
  constraint invite_receiver foreign key (receiver_id) references app."user" on delete cascade,
  constraint invite_status check (status in ('pending', 'accepted', 'declined', 'cancelled', 'expired'))
);
create index invite_sender on app.invite (sender_id, status);
create index invite_receiver on app.invite (receiver_id, status);
create index invite_expiry on app.invite (expires_at) where status = 'pending' and expires_at is not null;

create table app.friendship (
  id bigint generated always as identity,
  requester_id bigint not null,
  addressee_id bigint not null,
  status text not null default 'pending',
  created_at timestamptz not null default statement_timestamp(),
  updated_at timestamptz not null default statement_timestamp(),
  constraint friendship_pkey primary key (id),
  constraint friendship_requester foreign key (requester_id) references app."user" on delete cascade,
  constraint friendship_addressee foreign key (addressee_id) references app."user" on delete cascade,
  constraint friendship_status check (status in ('pending', 'accepted', 'declined')),
  constraint friendship_two check (requester_id <> addressee_id)
);
create unique index friendship_pair on app.friendship (least(requester_id, addressee_id), greatest(requester_id, addressee_id))
  where status <> 'declined';
create index friendship_addressee on app.friendship (addressee_id, status);
create index friendship_requester on app.friendship (requester_id, status);
