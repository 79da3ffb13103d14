-- Promise: whether the server takes writes, which schema version it has, whether a release that knows %(known)s works
-- with that, and the time.
-- Plan: the migrations table, which has a few rows.
select
  not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off',
  max(version),
  coalesce(bool_and(coalesce(works_with, version) <= %(known)s) filter (where version > %(known)s), true),
  clock_timestamp()
from {migrations_table}
