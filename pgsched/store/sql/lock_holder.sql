-- Promise: who has this advisory lock of a session; what may not be seen is null.
select pid, usename::text, application_name
from pg_locks
left join pg_stat_activity using (pid)
where locktype = 'advisory' and granted and objsubid = 1
  and database = (select oid from pg_database where datname = current_database())
  and (classid::bigint << 32) | objid::bigint = hashtextextended(%(key)s, 0)
