-- Promise: the default instance of each of these tasks, and of the recurring ones that workers know: whether it is picked,
-- for how many seconds it has been due, how often in a row it has failed, and how many seconds ago it last succeeded and failed.
-- Plan: by key, one look a task.
select execution.task_name, execution.picked, (extract(epoch from now()) - extract(epoch from execution.execution_time))::float8,
  execution.consecutive_failures, (extract(epoch from now()) - extract(epoch from execution.last_success))::float8,
  (extract(epoch from now()) - extract(epoch from execution.last_failure))::float8
from (
  select unnest(recurring) from {workers_table} union select unnest(%(tasks)s::text[])
) as known (task)
join {table} as execution on execution.task_name = known.task and execution.task_instance = %(instance)s
