-- Promise: one-time executions that succeeded are gone.
-- Fence: version and picked_by; answers only what was really deleted.
delete from {table} as execution
using unnest(%(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[])
  as held (task_name, task_instance, version)
where execution.task_name = held.task_name and execution.task_instance = held.task_instance
  and execution.picked and execution.version = held.version and execution.picked_by = %(poller)s
returning execution.task_name, execution.task_instance
