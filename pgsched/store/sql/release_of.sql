-- Promise: whatever a poller still held when it ended in order, or was ended by its own supervisor, is due
-- again: no retry used, no crash counted. Only for pollers that are surely gone.
with changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version}
  where picked and picked_by = %(poller)s
  returning task_name, task_instance, execution_time
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from changed having count(*) > 0
)
select task_name, task_instance, (select count(*) from notified) from changed
