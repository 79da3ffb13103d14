-- Promise: as `list`, of those that are picked.
-- Plan: the held index, all of it. A statement of its own: among others it would be planned each time, for ten times as long.
select task_name, task_instance, task_data::text, {execution_time}, picked, picked_by, {last_success},
  {last_failure}, consecutive_failures, {last_heartbeat}, version, priority, crashes, 'running' as state
from {table}
where picked and (%(task_name)s::text is null or task_name = %(task_name)s)
order by {table}.execution_time, task_name, task_instance
limit %(limit)s
