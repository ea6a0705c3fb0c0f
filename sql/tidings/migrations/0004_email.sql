-- What the e-mail worker (functions/email.sql) needs beside the table email.

-- How long a notification of a type stays unread before it is mailed. No row: the server's default.
create table tidings.email_delay (
  type text not null,
  seconds int not null,
  constraint email_delay_pkey primary key (type),
  constraint email_delay_seconds check (seconds between 0 and 2592000)
);

-- Signs the unsubscribe links. Kept here, so that all instances have the same and links in old mails stay good when the
-- secret of tokens changes. 244 bits of the server's strong random source.
create table tidings.email_key (
  only_one boolean not null default true,
  key text not null,
  constraint email_key_pkey primary key (only_one),
  constraint email_key_one check (only_one)
);
insert into tidings.email_key (key) values (gen_random_uuid()::text || gen_random_uuid()::text);

-- A row that was never tried has next_at = created_at, and falls due when the delay of its type has passed since. Any
-- other next_at is the moment of the next try. So both kinds of due rows are found in an index, whatever the delays are.
drop index tidings.email_due;
create index email_fresh on tidings.email (type, next_at) where state = 'pending' and next_at = created_at;
create index email_again on tidings.email (next_at) where state = 'pending' and next_at <> created_at;
create index email_sending on tidings.email (claimed_at) where state = 'sending';
-- what operators look at
create index email_trouble on tidings.email (state, created_at) where state in ('unknown', 'dead');
comment on column tidings.email.next_at is 'equal to created_at: never tried, due when the delay of its type has passed; else the moment of the next try';
comment on column tidings.email.message_id is 'the Message-ID of the newest try: what to look for in the log of the mail server';
