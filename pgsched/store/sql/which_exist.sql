-- Promise: of these executions, those that have a row: what could not be completed is stale, not vanished.
select execution.task_name, execution.task_instance
from {table} as execution
join unnest(%(task_names)s::text[], %(task_instances)s::text[]) as held (task_name, task_instance)
  on execution.task_name = held.task_name and execution.task_instance = held.task_instance
