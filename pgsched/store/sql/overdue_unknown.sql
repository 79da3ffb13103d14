-- Promise: the tasks, but for those given, whose most urgent execution has been due for longer than `overdue`.
-- Plan: a loose scan of the queue index, two looks a task however many rows each has; at most 1000 tasks.
with recursive {name_waiting}
select name.task_name
from name
cross join lateral (
  select execution_time from {table}
  where picked = false and task_name = name.task_name
  order by task_name, priority desc nulls last, execution_time
  limit 1
) as head
where head.execution_time < now() - %(overdue)s and name.task_name <> all (%(tasks)s::text[])
