-- Promise: executions are due again as if they had not been picked: no retry used, no crash counted.
-- Fence: version and picked_by; answers the numbers of those that were really released. Others are woken to take them.
with changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version}
  from unnest(%(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[])
    with ordinality as held (task_name, task_instance, version, number)
  where {held_by_key} and {is_fenced}
  returning held.number, execution.execution_time
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from changed having count(*) > 0
)
select number, (select count(*) from notified) from changed
