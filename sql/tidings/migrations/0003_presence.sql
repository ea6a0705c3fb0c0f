-- Who has a stream open, and where. A crash may empty these tables: the instances write what they hold again as soon as
-- their LISTEN connection is back.

-- Instances that have written presence. One is alive while its LISTEN connection holds the advisory lock
-- (1953063018, instance): nobody writes a heartbeat, and the lock goes with the process.
create unlogged table tidings.presence_instance (
  instance int not null,
  constraint presence_instance_pkey primary key (instance)
);

-- One row per user with a stream anywhere: a row lock is what puts the opening and closing of a user in order.
create unlogged table tidings.presence (
  user_id text not null,
  instances int[] not null,
  constraint presence_pkey primary key (user_id)
) with (fillfactor = 70);
