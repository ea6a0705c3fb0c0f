-- E-mail for notifications that stay unread. A row of tidings.email goes
--   pending -> sending -> sent | pending (to be tried again) | dead | unknown, or pending -> cancelled.
-- A claim is committed as 'sending' before the mail server hears of it. Whoever dies after that leaves a row of which
-- nobody can tell whether it was sent: it becomes 'unknown' and is not sent again unless an operator says so.
-- Functions without a search_path of their own are called by those that have one, and by nobody else.

-- The types that have rows which were never tried. One index look-up for each, however many rows there are.
create or replace function tidings.email_types() returns setof text
language sql stable
begin atomic
  with recursive waiting(type) as (
    (select e.type from tidings.email e where e.state = 'pending' and e.next_at = e.created_at order by e.type limit 1)
    union all
    select (select e.type from tidings.email e where e.state = 'pending' and e.next_at = e.created_at and e.type > w.type
      order by e.type limit 1) from waiting w where w.type is not null
  )
  select w.type from waiting w where w.type is not null;
end;

create or replace function tidings.email_delay_of(of_type text, default_seconds int) returns interval
language sql stable
return coalesce((select d.seconds from tidings.email_delay d where d.type = of_type), default_seconds) * interval '1 second';

-- Seconds until something is to be done (0 or less: now; null: nothing waits), and the shortest delay of any type.
-- Reads alone.
create or replace function tidings.email_wait(
  default_seconds int, lease_seconds int, out wait float8, out shortest int
) language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
begin
  select extract(epoch from min(due) - clock_timestamp()) into wait from (
    select (select min(e.next_at) from email e where e.state = 'pending' and e.next_at = e.created_at and e.type = t)
      + email_delay_of(t, default_seconds) due from email_types() t
    union all
    select min(e.next_at) from email e where e.state = 'pending' and e.next_at <> e.created_at
    union all
    select min(e.claimed_at) + lease_seconds * interval '1 second' from email e where e.state = 'sending'
  ) all_due;
  shortest := least(default_seconds, (select min(d.seconds) from email_delay d));
end $$;

-- Users with something due, longest overdue first; a user may come more than once.
create or replace function tidings.email_users_due(default_seconds int, most int) returns setof text
language sql stable
begin atomic
  select due.user_id from (
    select e.user_id, e.due from tidings.email_types() t
    cross join lateral (select tidings.email_delay_of(t, default_seconds) delay offset 0) d
    cross join lateral (
      select f.user_id, f.next_at + d.delay due from tidings.email f
      where f.state = 'pending' and f.next_at = f.created_at and f.type = t and f.next_at <= clock_timestamp() - d.delay
      order by f.next_at limit most) e
    union all
    (select a.user_id, a.next_at from tidings.email a
      where a.state = 'pending' and a.next_at <> a.created_at and a.next_at <= clock_timestamp()
      order by a.next_at limit most)
  ) due order by due.due;
end;

-- Claims made so long ago that their worker is gone.
create or replace function tidings.expire_email_claims(lease_seconds int) returns int
language plpgsql
as $$
declare
  expired int;
begin
  with late as (
    select user_id, id from tidings.email
    where state = 'sending' and claimed_at < clock_timestamp() - lease_seconds * interval '1 second'
    for update skip locked
  )
  update tidings.email e set state = 'unknown', last_error = 'the worker ended before the mail server''s answer was recorded'
  from late where e.user_id = late.user_id and e.id = late.id;
  get diagnostics expired = row_count;
  return expired;
end $$;

-- Takes what is due of one user, under this Message-ID: into 'sending', or into 'cancelled' where the mail is not wanted
-- any more. Returns the entries to be sent as JSON, null where none is left; `cancelled` counts the others.
create or replace function tidings.claim_email_of(
  of_user text, of_message text, default_seconds int, out entries jsonb, out cancelled int
) language plpgsql
as $$
begin
  with due as (
    select e.id, e.type from tidings.email e
    where e.user_id = of_user and e.state = 'pending' and case when e.next_at = e.created_at
      then e.next_at + tidings.email_delay_of(e.type, default_seconds) else e.next_at end <= clock_timestamp()
    order by e.id limit 50 for update skip locked
  ), judged as (
    select due.id, n.title, n.message, n.data, case
      when n.message is null then 'the notification is gone'
      when n.archived_at is not null then 'archived'
      when n.is_read then 'read'
      when p.mute is not false or not p.email then 'switched off' end reason
    from due left join tidings.notification n on n.user_id = of_user and n.id = due.id
    left join tidings.preference p on p.user_id = of_user and p.type = due.type
  ), written as (
    update tidings.email e set state = case when j.reason is null then 'sending' else 'cancelled' end,
      attempts = attempts + (j.reason is null)::int, claimed_at = clock_timestamp(), last_error = j.reason,
      message_id = case when j.reason is null then of_message end
    from judged j where e.user_id = of_user and e.id = j.id
    returning e.id, e.type, e.attempts, e.created_at, j.title, j.message, j.data, j.reason
  )
  select jsonb_agg(jsonb_build_object('id', id, 'type', type, 'title', title, 'message', message, 'url', data -> 'url',
      'attempts', attempts, 'created_at', tidings.utc(created_at)) order by id) filter (where reason is null),
    count(reason)
  into entries, cancelled from written;
end $$;

-- Claims the due mails of one user, for one message. `expired` and `cancelled` count what was settled on the way. No
-- user: nothing is due that nobody else is at. Commit before sending.
create or replace function tidings.claim_email(
  of_message text, default_seconds int, lease_seconds int,
  out user_id text, out address text, out entries jsonb, out cancelled int, out expired int
) language plpgsql security definer
set search_path = tidings, pg_temp
as $$
#variable_conflict use_column
declare
  candidate text;
  claim record;
begin
  cancelled := 0;
  expired := expire_email_claims(lease_seconds);
  for candidate in select email_users_due(default_seconds, 20) loop
    -- two workers would else share a user's mails out between them, where one message is wanted
    continue when not pg_try_advisory_xact_lock(1953063019, hashtext(candidate));
    claim := claim_email_of(candidate, of_message, default_seconds);
    cancelled := cancelled + claim.cancelled;
    continue when claim.entries is null;
    begin
      address := nullif(btrim(contact_of(candidate)), '');
    exception when others then  -- an application's function: one user's fault must not stop all mail
      perform settle_email(candidate, of_message, 'retry', 'tidings.contact_of failed: ' || sqlerrm, 600);
      continue;
    end;
    if address is null then
      update email e set state = 'cancelled', attempts = attempts - 1, last_error = 'no address is known', message_id = null
      where e.user_id = candidate and e.message_id = of_message and e.state = 'sending';
      cancelled := cancelled + jsonb_array_length(claim.entries);
      continue;
    end if;
    -- a claim that a crash of Postgres took back would be sent twice
    perform set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off';
    user_id := candidate;
    entries := claim.entries;
    return;
  end loop;
end $$;

-- What became of a claim: 'sent', 'retry' (after so many seconds; dead at the last attempt), 'dead' or 'unknown'. A late
-- answer also settles what was taken for unknown. Returns the state it led to ('pending' where that is so of any row), null
-- where an operator has meanwhile decided otherwise. What was sent is told to the user's streams, at this commit.
create or replace function tidings.settle_email(
  of_user text, of_message text, outcome text, error text default null, wait_seconds float8 default 0, max_attempts int default 10
) returns text
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  settled text;
begin
  if outcome is null or outcome not in ('sent', 'retry', 'dead', 'unknown') then
    raise exception 'tidings: an outcome is sent, retry, dead or unknown, not %', quote_nullable(outcome) using errcode = '22023';
  end if;
  with done as (
    update email e set
      state = case when outcome <> 'retry' then outcome when attempts < max_attempts then 'pending' else 'dead' end,
      next_at = case when outcome = 'retry' then clock_timestamp() + wait_seconds * interval '1 second' else next_at end,
      sent_at = case when outcome = 'sent' then clock_timestamp() end, last_error = left(error, 500)
    where e.user_id = of_user and e.message_id = of_message and e.state in ('sending', 'unknown')
    returning id, state
  ), told as (
    insert into outbox (kind, target, event)
    select 't', 'user_' || of_user, jsonb_build_object('type', 'notification_update',
      'data', jsonb_build_object('notification_id', id, 'status', 'emailed'))
    from done where state = 'sent' order by id
  )
  select max(state) into settled from done;
  return settled;
end $$;

-- For operators: the mails in a state (null: in any), newest first.
create or replace function tidings.emails(in_state text default null, most int default 100) returns setof tidings.email
language plpgsql stable security definer
set search_path = tidings, pg_temp
as $$
begin
  return query select * from email where state = in_state or in_state is null order by created_at desc, user_id, id limit most;
end $$;

-- For operators: tries a dead mail again, or one of unknown outcome, which may then arrive twice. Workers find it within
-- half a minute. Returns whether there was one.
create or replace function tidings.retry_email(of_user text, of_id bigint) returns boolean
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  update email set state = 'pending', attempts = 0, next_at = clock_timestamp(), message_id = null
  where user_id = of_user and id = of_id and state in ('dead', 'unknown');
  return found;
end $$;

-- All that are in this state, dead or unknown. Returns how many.
create or replace function tidings.retry_email(in_state text) returns bigint
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
declare
  retried bigint;
begin
  if in_state is null or in_state not in ('dead', 'unknown') then
    raise exception 'tidings: mails that are dead or unknown can be tried again, not %', quote_nullable(in_state)
      using errcode = '22023';
  end if;
  update email set state = 'pending', attempts = 0, next_at = clock_timestamp(), message_id = null where state = in_state;
  get diagnostics retried = row_count;
  return retried;
end $$;

-- Switches e-mail off for these types of a user; what is due by then is cancelled.
create or replace function tidings.unsubscribe_email(of_user text, types text[]) returns void
language plpgsql security definer
set search_path = tidings, pg_temp
as $$
begin
  insert into preference as p (user_id, type, email)
  select of_user, t, false from (select distinct t from unnest(types) t) each order by t
  on conflict on constraint preference_pkey do update set email = false where p.email;
end $$;
