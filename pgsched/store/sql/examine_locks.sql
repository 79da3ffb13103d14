-- Promise: who has locked one of these tables so that nobody can write it, for longer than a moment. What has been locked
-- by a transaction that we may not see has no time: it is told when somebody waits for it.
select distinct pg_locks.pid, usename::text, application_name, relation::regclass::text, now() - xact_start
from pg_locks
left join pg_stat_activity on pg_stat_activity.pid = pg_locks.pid
where locktype = 'relation' and granted
  and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  and pg_locks.database = (select oid from pg_database where datname = current_database())
  and relation in (select to_regclass(name) from unnest(%(tables)s::text[]) as given (name))
  and (
    xact_start < now() - %(locked_for)s
    or (xact_start is null and relation in (
      select relation from pg_locks
      where locktype = 'relation' and not granted and waitstart < now() - interval '1 s'
    ))
  )
  and pg_locks.pid <> pg_backend_pid()
order by 5 desc nulls last
limit 10
