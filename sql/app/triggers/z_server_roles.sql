-- What an upgrade of the domain brought, the servers' roles may use. (z_: after all others.)
select tidings.grant_server(role) from tidings.server_roles() role;
