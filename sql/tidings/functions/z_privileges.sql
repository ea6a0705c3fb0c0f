-- Postgres lets everybody execute a new function. Nobody but the owner may publish unless granted:
-- the README shows the grants of a producer and of a server role. (z_: after all others.)
revoke execute on all functions in schema tidings from public;
