-- Promise: executions as a reader sees them, soonest first, those of one task, instance or state where given.
select task_name, task_instance, task_data::text, {execution_time}, picked, picked_by, {last_success},
  {last_failure}, consecutive_failures, {last_heartbeat}, version, priority, crashes, {state} as state
from {table}
where (%(task_name)s::text is null or task_name = %(task_name)s)
  and (%(task_instance)s::text is null or task_instance = %(task_instance)s)
  and (%(state)s::text is null or {state} = %(state)s)
order by {table}.execution_time, task_name, task_instance
limit %(limit)s
