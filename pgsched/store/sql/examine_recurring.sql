-- Promise: the default instance of each of these tasks, and of those that workers know: whether it is picked, and for
-- how many seconds it has been due.
-- Plan: by key, one look a task.
select execution.task_name, execution.picked, (extract(epoch from now()) - extract(epoch from execution.execution_time))::float8
from (
  select unnest(tasks) from {workers_table} union select unnest(%(tasks)s::text[])
) as known (task)
join {table} as execution on execution.task_name = known.task and execution.task_instance = %(instance)s
