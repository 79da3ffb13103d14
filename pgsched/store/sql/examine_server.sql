-- Promise: which server this is, whether it takes writes, and who we are to it. Names are quoted.
select current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
  current_setting('transaction_read_only')::boolean, quote_ident(current_user), quote_ident(current_database()),
  rolsuper, pg_has_role(current_user, 'pg_read_all_stats', 'usage')
from pg_roles
where rolname = current_user
