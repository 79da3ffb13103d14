-- Promise: what this poller has picked without knowing it is due again: the connection broke between the commit of a
-- pick and its answer. No retry used, no crash counted.
with changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version}
  where picked and picked_by = %(poller)s and not exists (
    select 1
    from unnest(%(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[])
      as held (task_name, task_instance, version)
    where held.task_name = execution.task_name and held.task_instance = execution.task_instance
      and held.version = execution.version
  )
  returning task_name, task_instance, execution_time
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from changed having count(*) > 0
)
select task_name, task_instance, (select count(*) from notified) from changed
