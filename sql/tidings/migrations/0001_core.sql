-- The tables of Tidings. Schema and migration table exist already (db/migrate.ts makes them).
-- No foreign key leads from here to an application's tables: it would let a publishing transaction wait for
-- the application's own row locks at commit.

-- What may be staged, checked when a producer writes and not when it commits. Domains, because Postgres parses a
-- table's check constraints again for every statement (20 µs each) and a domain's once per session.
create domain tidings.address as text constraint address_length check (length(value) between 1 and 260);
create domain tidings.label as text constraint label_length check (length(value) between 1 and 255);
create domain tidings.event as jsonb constraint event_shape check (
  value is null or jsonb_typeof(value) = 'object' and coalesce(jsonb_typeof(value -> 'type') = 'string', false)
  and not value ?| array['id', 'more'] and value ->> 'type' <> all (array['ready', 'reset', 'pong', 'error', '']));
create domain tidings.fields as jsonb constraint fields_shape check (jsonb_typeof(value) = 'object');
comment on domain tidings.event is 'a JSON object with a type; the keys id and more and the types ready, reset, pong and error are reserved';

-- One row per user who was ever notified: the head of the user's dense sequence, and its counters.
-- Small and hot: numbering updates it once per transaction and user, so leave room on the page for HOT updates.
create table tidings.inbox (
  user_id text not null,
  last_id bigint not null default 0,
  unread_count bigint not null default 0,
  floor_id bigint not null default 0,
  delivered_id bigint not null default 0,
  constraint inbox_pkey primary key (user_id)
) with (fillfactor = 50);
comment on column tidings.inbox.last_id is 'newest entry id of the user';
comment on column tidings.inbox.unread_count is 'unread, unarchived notifications; always equals a recount';
comment on column tidings.inbox.floor_id is 'entries up to and including this id were pruned; a cursor below it gets a reset';
comment on column tidings.inbox.delivered_id is 'newest id first written to any stream of the user, flushed in batches';

-- The stored entries. An entry with a message is a notification; one without is an event alone.
create table tidings.notification (
  user_id text not null,
  id bigint not null,
  event jsonb,
  type text not null,
  title text,
  message text,
  data jsonb,
  is_read boolean not null default false,
  streamed boolean not null default true,
  read_at timestamptz,
  archived_at timestamptz,
  key text,
  actor text,
  created_at timestamptz not null,
  constraint notification_pkey primary key (user_id, id)
);
comment on column tidings.notification.streamed is 'false: the user had switched this type''s stream off when it was numbered';
comment on column tidings.notification.actor is 'who caused it (setting tidings.actor), as far as known';
create unique index notification_key on tidings.notification (user_id, key) where key is not null;
create index notification_unread on tidings.notification (user_id, type)
  where message is not null and not is_read and archived_at is null;
create index notification_age on tidings.notification using brin (created_at) with (autosummarize = on);

-- What a transaction has published and not yet numbered. Rows live from the write to the commit of one
-- transaction: unlogged costs no WAL and a crash may empty it. The first row a transaction stages is its head;
-- only the head carries the deferred triggers (functions/number.sql).
create unlogged table tidings.outbox (
  xid xid8 not null default pg_current_xact_id(),
  n bigint generated always as identity,
  head boolean not null,
  kind "char" not null,
  target tidings.address not null,
  event tidings.event,
  type tidings.label,
  title text,
  message text,
  data tidings.fields,
  key tidings.label,
  delta bigint not null default 0,
  floor bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, vacuum_truncate = off);
comment on column tidings.outbox.kind is
  'e: entry for user target; t: transient event for group target; c: control envelope for group target; r: read state of user target changed, count by delta; f: entries of user target up to floor pruned, count changed by delta';
create index outbox_xid on tidings.outbox (xid);

-- Envelopes left by writers who found the doorbell taken; the relay announces them (functions/announce.sql).
create unlogged table tidings.unannounced (
  xid xid8 not null default pg_current_xact_id(),
  n bigint generated always as identity,
  envelope text not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, vacuum_truncate = off);
create index unannounced_xid on tidings.unannounced (xid);

-- Transient events too big for NOTIFY travel by reference; removed by the housekeeper after a minute.
create unlogged table tidings.parcel (
  id bigint generated always as identity,
  payload jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint parcel_pkey primary key (id)
);

-- What a user wants of a notification type. No row: stream on, e-mail off, not muted.
create table tidings.preference (
  user_id text not null,
  type text not null,
  stream boolean not null default true,
  email boolean not null default false,
  mute boolean not null default false,
  constraint preference_pkey primary key (user_id, type)
);

-- Tokens of a user issued at or before this moment are refused.
create table tidings.revocation (
  user_id text not null,
  revoked_at timestamptz not null,
  constraint revocation_pkey primary key (user_id)
);

-- One-time tickets for clients that build a new URL for each connection. Only a hash is kept.
create unlogged table tidings.ticket (
  hash bytea not null,
  identity jsonb not null,
  expires_at timestamptz not null,
  constraint ticket_pkey primary key (hash)
);

-- Notifications whose type asks for e-mail, from numbering until they are sent, cancelled or given up.
create table tidings.email (
  user_id text not null,
  id bigint not null,
  type text not null,
  state text not null default 'pending',
  attempts integer not null default 0,
  created_at timestamptz not null,
  next_at timestamptz not null,
  claimed_at timestamptz,
  sent_at timestamptz,
  message_id text,
  last_error text,
  constraint email_pkey primary key (user_id, id),
  constraint email_state check (state in ('pending', 'sending', 'sent', 'cancelled', 'unknown', 'dead'))
);
create index email_due on tidings.email (next_at) where state in ('pending', 'sending');
