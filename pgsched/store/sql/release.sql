-- Promise: executions are due again as if they had not been picked: no retry used, no crash counted.
-- Fence: version and picked_by; answers only what was really released. Others are woken to take them.
with changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = execution.version + 1
  from unnest(%(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[])
    as held (task_name, task_instance, version)
  where execution.task_name = held.task_name and execution.task_instance = held.task_instance
    and execution.picked and execution.version = held.version and execution.picked_by = %(poller)s
  returning execution.task_name, execution.task_instance
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from now())::text) from changed limit 1
)
select task_name, task_instance, (select count(*) from notified) from changed
