-- Promise: the tasks that have executions due, since when, and whether a worker that has been seen lately knows them:
-- those that nobody knows first, then those due for longest; at most 100.
-- Plan: a loose scan of the queue index, one look for each task and priority; at most 1000 tasks, 100 priorities each.
with recursive {name_waiting},
queue (task_name, priority, first, number) as (
  select name.task_name, head.priority, head.execution_time, 1
  from name
  cross join lateral (
    select priority, execution_time from {table}
    where picked = false and task_name = name.task_name
    order by task_name, priority desc nulls last, execution_time
    limit 1
  ) as head
  union all
  select queue.task_name, lower.priority, lower.execution_time, queue.number + 1
  from queue
  cross join lateral (
    select * from (
      select priority, execution_time from {table}
      where picked = false and task_name = queue.task_name and priority < queue.priority
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select priority, execution_time from {table}
      where picked = false and task_name = queue.task_name and priority is null
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) as unranked
    limit 1
  ) as lower
  where queue.priority is not null and queue.number < 100
),
due (task_name, first) as (
  select task_name, min(first) from queue where first <= now() group by task_name
),
known (task_name) as (select distinct unnest(tasks) from {workers_table} where {is_alive})
select due.task_name, {first}, due.task_name in (select task_name from known) as is_known
from due
order by is_known, due.first
limit 100
