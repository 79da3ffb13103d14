-- Promise: how long until the next execution after `since` is due, whatever its task; null where none is.
-- Plan: one probe of the picker index per distinct priority (a loose index scan), so it does not grow with
-- the rows scheduled for the future. Rows of unknown tasks may answer: a wake-up too many, never one too few.
-- At most 1,000 priorities are looked at: beyond that the polling interval is the safety net.
with recursive level (priority, is_null, number) as (
  (
    select priority, priority is null, 1 from {table}
    where picked = false
    order by priority desc nulls last
    limit 1
  )
  union all
  select following.priority, following.priority is null, level.number + 1
  from level
  cross join lateral (
    (
      select priority from {table}
      where picked = false and priority < level.priority
      order by priority desc nulls last
      limit 1
    )
    union all
    (
      select priority from {table}
      where picked = false and priority is null
      -- any would do: the order makes the planner take the index
      order by execution_time
      limit 1
    )
    limit 1
  ) as following
  where not level.is_null and level.number < 1000
)
select min(coming.execution_time) - now()
from level
cross join lateral (
  (
    select execution_time from {table}
    where picked = false and not level.is_null and priority = level.priority
      and execution_time > %(since)s
    order by execution_time
    limit 1
  )
  union all
  (
    select execution_time from {table}
    where picked = false and level.is_null and priority is null
      and execution_time > %(since)s
    order by execution_time
    limit 1
  )
) as coming
where coming.execution_time < 'infinity'
