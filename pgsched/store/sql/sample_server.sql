-- Promise: dead row versions in the table as the statistics have them, and the age of the oldest transaction in this
-- database, in seconds: others' only where the role may see them.
select
  coalesce((select n_dead_tup from pg_stat_all_tables where relid = to_regclass(%(table)s)), 0),
  coalesce(extract(epoch from clock_timestamp() - least(
    (select min(xact_start) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()),
    (select min(prepared) from pg_prepared_xacts where database = current_database())
  )), 0)::float8
