-- Functions an application replaces with its own (create or replace function …). They stand here and not in
-- functions/, which is run again at upgrades and would undo the replacement.

-- A replayed event as it should be seen now. The reference domain replaces this, so that an invite that was
-- settled in the meantime never looks pending.
create function tidings.current_event(event jsonb) returns jsonb
language sql stable
return event;

-- The user id behind a username, for groups such as notifications_ann; null: nobody has that name.
create function tidings.user_named(username text) returns text
language sql stable
return null::text;

-- The address e-mail goes to; null: none is known.
create function tidings.contact_of(user_id text) returns text
language sql stable
return null::text;

-- Who hears of a user's presence, as user ids.
create function tidings.presence_audience(user_id text) returns text[]
language sql stable
return '{}'::text[];

-- The members of a group, as user ids, for stored entries published to it.
create function tidings.group_members(group_name text) returns text[]
language sql stable
return case when group_name like 'user\_%' then array[substr(group_name, 6)] else '{}'::text[] end;
