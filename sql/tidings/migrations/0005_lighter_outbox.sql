-- A transaction that stages one row finds it by its place: its head need not be in the index.
drop index tidings.outbox_xid;
create index outbox_rest on tidings.outbox (xid) where not head;

-- The same limits in one comparison: an insert prepares the checks of all its domains, and pays for each part of them.
alter domain tidings.address drop constraint address_length;
alter domain tidings.address add constraint address_length check (width_bucket(length(value), array[1, 261]) = 1);
alter domain tidings.label drop constraint label_length;
alter domain tidings.label add constraint label_length check (width_bucket(length(value), array[1, 256]) = 1);
