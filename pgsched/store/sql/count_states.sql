-- Promise: how many executions are due, wait for later, run, wait for another try, have failed (each up to `most`), and
-- since when the oldest of those due has been. Those of later are counted beyond those that wait for another try, which
-- are among them.
-- Plan: index entries alone, at most `most` for each number: those due and those of later from the order index, priority
-- by priority, of which at most 1000 are looked at.
with recursive level (priority, number) as (
  select * from (
    select priority, 1 from {table} where picked = false order by priority desc nulls last, execution_time limit 1
  ) as highest
  union all
  select lower.priority, level.number + 1
  from level
  cross join lateral (
    select * from (
      select priority from {table} where picked = false and priority < level.priority
      order by priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select priority from {table} where picked = false and priority is null
      order by priority desc nulls last, execution_time
      limit 1
    ) as unranked
    limit 1
  ) as lower
  where level.priority is not null and level.number < 1000
),
span (name, earliest, latest) as (
  values ('due', '-infinity', now()), ('later', now() + interval '1 microsecond', 'infinity')
),
retrying (executions) as (
  select count(*)
  from (
    select from {table}
    where picked = false and consecutive_failures > 0 and execution_time > now()
    limit %(most)s
  ) as waiting
),
counted (name, executions) as (
  select span.name, count(*)
  from span
  cross join lateral (
    select
    from level
    cross join lateral (
      select execution_time from {table}
      where picked = false and priority = level.priority and execution_time between span.earliest and span.latest
      union all
      select execution_time from {table}
      where picked = false and level.priority is null and priority is null
        and execution_time between span.earliest and span.latest
    ) as at_level
    limit %(most)s + case when span.name = 'later' then (select executions from retrying) else 0 end
  ) as waiting
  group by span.name
),
heads (first) as (
  select head.execution_time
  from level
  cross join lateral (
    select * from (
      select execution_time from {table} where picked = false and priority = level.priority
      order by priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select execution_time from {table} where picked = false and level.priority is null and priority is null
      order by priority desc nulls last, execution_time
      limit 1
    ) as unranked
  ) as head
  where head.execution_time <= now()
),
oldest (first) as (select min(first) from heads)
select
  now(),
  coalesce((select executions from counted where name = 'due'), 0),
  coalesce((select executions from counted where name = 'later'), 0),
  (select count(*) from (select from {table} where picked limit %(most)s) as running),
  (select executions from retrying),
  (select count(*) from (select from {failed_table} limit %(most)s) as failed),
  {first}
from oldest
