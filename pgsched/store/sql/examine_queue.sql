-- Promise: for each task with executions waiting, for how long its most urgent one has been due (negative: not yet).
-- Plan: as overdue_unknown, two looks a task however many rows each has; at most 1000 tasks.
with recursive {name_waiting}
select name.task_name, (extract(epoch from now()) - extract(epoch from head.execution_time))::float8
from name
cross join lateral (
  select execution_time from {table}
  where picked = false and task_name = name.task_name
  order by task_name, priority desc nulls last, execution_time
  limit 1
) as head
