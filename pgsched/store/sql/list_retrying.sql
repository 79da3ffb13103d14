-- Promise: as `list`, of those that failed and wait for their next run.
select task_name, task_instance, task_data::text, {execution_time}, picked, picked_by, {last_success},
  {last_failure}, consecutive_failures, {last_heartbeat}, version, priority, crashes, 'retrying' as state
from {table}
where picked = false and consecutive_failures > 0 and {table}.execution_time > now()
  and (%(task_name)s::text is null or task_name = %(task_name)s)
order by {table}.execution_time, task_name, task_instance
limit %(limit)s
