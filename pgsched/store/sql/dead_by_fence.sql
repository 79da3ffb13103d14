-- Runs whose own processes died. A completion, fenced like all others: it waits for who has the row for a moment (a beat).
select execution.task_name, execution.task_instance, execution.picked_by as poller, true as is_suspect, true as is_guilty
from {table} as execution
join unnest(%(task_names)s::text[], %(task_instances)s::text[], %(versions)s::bigint[])
  as held (task_name, task_instance, version) on {held_by_key}
where {is_fenced}
for update of execution
