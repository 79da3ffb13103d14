-- Promise: for each priority at which one of these tasks has executions waiting: the time of the first, whether it is
-- due, when the next one comes, and in how many seconds that is; and how long it took to find. Null priority is the lowest;
-- no rows of other tasks are read.
-- Plan: a loose scan of the queue index, one look for each task and priority, so it does not grow with the rows.
-- At most 100 priorities a task: the lower ones show when the higher ones are empty.
with recursive queue (task_name, priority, first, number) as (
  select task.name, head.priority, head.execution_time, 1
  from unnest(%(tasks)s::text[]) as task (name)
  cross join lateral (
    select priority, execution_time from {table}
    where picked = false and suspicions <= %(most_suspicions)s and task_name = task.name
    order by task_name, priority desc nulls last, execution_time
    limit 1
  ) as head
  union all
  select queue.task_name, lower.priority, lower.execution_time, queue.number + 1
  from queue
  cross join lateral (
    select * from (
      select priority, execution_time from {table}
      where picked = false and suspicions <= %(most_suspicions)s and task_name = queue.task_name and priority < queue.priority
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select priority, execution_time from {table}
      where picked = false and suspicions <= %(most_suspicions)s and task_name = queue.task_name and priority is null
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) as unranked
    limit 1
  ) as lower
  where queue.priority is not null and queue.number < 100
),
coming (priority, first, next) as (
  select queue.priority, queue.first, (
    case when queue.first > now() then queue.first
    when queue.priority is null then (
      select execution_time from {table}
      where picked = false and suspicions <= %(most_suspicions)s and task_name = queue.task_name and priority is null and execution_time > now()
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) else (
      select execution_time from {table}
      where picked = false and suspicions <= %(most_suspicions)s and task_name = queue.task_name and priority = queue.priority and execution_time > now()
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) end
  )
  from queue
)
select priority, {first}, first <= now(), {next}, extract(epoch from next - now())::float8,
  extract(epoch from clock_timestamp() - now())::float8
from (
  select priority, min(first) as first, min(next) filter (where next < 'infinity') as next
  from coming
  group by priority
) as level
order by priority desc nulls last
