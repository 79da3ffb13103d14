-- Promise: how full the queue of notifications is (1 is full), and who probably keeps it so: whoever is in a transaction,
-- or has not read what it was sent, for longest. Sessions of every database share the queue.
select pg_notification_queue_usage()::float8, suspect.pid, suspect.application_name
from (values (1)) as once
left join lateral (
  select pid, application_name from pg_stat_activity
  where pid <> pg_backend_pid() and (xact_start is not null or wait_event = 'ClientWrite')
  order by coalesce(xact_start, state_change)
  limit 1
) as suspect on true
