-- Promise: as `list`, the first `limit` of those due, scheduled or of any state; of those due at the very same time any.
-- Retrying and running ones have statements of their own.
-- Plan: the first of each priority from the order (or queue) index, and all that are picked: it reads `limit` rows a
-- priority, however many there are.
with recursive level (priority, number) as (
  select * from (
    select priority, 1 from {table}
    where picked = false and {of_task}
    order by priority desc nulls last, execution_time
    limit 1
  ) as highest
  union all
  select lower.priority, level.number + 1
  from level
  cross join lateral (
    select * from (
      select priority from {table}
      where picked = false and {of_task} and priority < level.priority
      order by priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select priority from {table}
      where picked = false and {of_task} and priority is null
      order by priority desc nulls last, execution_time
      limit 1
    ) as unranked
    limit 1
  ) as lower
  where level.priority is not null and level.number < 1000
),
bounds (earliest, latest) as (
  select case when %(state)s::text = 'scheduled' then now() + interval '1 microsecond' else '-infinity' end,
    case when %(state)s::text = 'due' then now() else 'infinity' end
),
found as (
  select waiting.*
  from level
  cross join bounds
  cross join lateral (
    select * from (
      select * from {table}
      where picked = false and {of_task} and priority = level.priority
        and execution_time between bounds.earliest and bounds.latest
        and (%(state)s::text is distinct from 'scheduled' or consecutive_failures = 0)
      order by priority desc nulls last, execution_time
      limit %(limit)s
    ) as ranked
    union all
    select * from (
      select * from {table}
      where picked = false and {of_task} and level.priority is null and priority is null
        and execution_time between bounds.earliest and bounds.latest
        and (%(state)s::text is distinct from 'scheduled' or consecutive_failures = 0)
      order by priority desc nulls last, execution_time
      limit %(limit)s
    ) as unranked
  ) as waiting
  union all
  select * from {table}
  where picked and {of_task} and %(state)s::text is null
)
select task_name, task_instance, task_data::text, {execution_time}, picked, picked_by, {last_success},
  {last_failure}, consecutive_failures, {last_heartbeat}, version, priority, crashes, {state} as state
from found
order by found.execution_time, task_name, task_instance
limit %(limit)s
