-- Writers of the tables need no right on the functions behind the triggers. (z_: after all others.)
revoke execute on all functions in schema app from public;
