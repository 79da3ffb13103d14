-- Promise: what is known of the table's rows (after a crash the counts begin anew, the estimate stays) and size, its options, and how long ago it was vacuumed (null: never).
select greatest(n_live_tup, reltuples::bigint, 0), coalesce(n_dead_tup, 0), pg_table_size(pg_class.oid),
  now() - greatest(last_vacuum, last_autovacuum), coalesce(reloptions, array []::text[])
from pg_class
left join pg_stat_user_tables on relid = pg_class.oid
where pg_class.oid = to_regclass(%(table)s)
