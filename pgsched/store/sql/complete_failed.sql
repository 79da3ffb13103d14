-- Promise: one-time executions with no retries left are in the side table, with what they failed of.
-- Fence: version and picked_by; answers the numbers of those that were really moved.
with held as (
  select task_name, task_instance, version, error, traceback, number
  from unnest(
    %(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[],
    %(errors)s::text[], %(tracebacks)s::text[]
  ) with ordinality as held (task_name, task_instance, version, error, traceback, number)
),
gone as (
  delete from {table} as execution
  using held
  where {held_by_key} and {is_fenced}
  returning execution.task_name, execution.task_instance, execution.task_data, execution.execution_time,
    execution.picked_by, execution.last_success, execution.consecutive_failures, execution.version,
    execution.priority, execution.crashes, held.error, held.traceback, held.number
),
moved as (
  insert into {failed_table} (
    task_name, task_instance, task_data, execution_time, picked_by, last_success, last_failure,
    consecutive_failures, version, priority, crashes, attempts, error, traceback
  )
  select task_name, task_instance, task_data, execution_time, picked_by, last_success, now(),
    {next_failures}, {next_version}, priority, crashes, {attempts}, error, traceback
  from gone as execution
)
select number from gone
