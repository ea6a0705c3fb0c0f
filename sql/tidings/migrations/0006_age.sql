-- A BRIN index never forgets: once pruned pages are filled again, each range of it seems to hold the oldest entry, and
-- every round of tidings.prune would read the whole table. New entries go to the right end of a B-tree, which is cheap.
create index notification_created on tidings.notification (created_at);
drop index tidings.notification_age;
