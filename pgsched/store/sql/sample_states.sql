-- Promise: how many executions are due, scheduled, running, retrying and failed, none counted beyond %(most)s; of those
-- scheduled, how many among the first %(most)s of each priority that are still to come.
-- Plan: a loose scan of the order index for the priorities, then at most %(most)s entries each way; the held and the
-- retrying index; the key of the failed. At most 100 priorities.
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
  where level.priority is not null and level.number < 100
),
due as (
  select 1
  from level
  cross join lateral (
    select * from (
      select 1 from {table} where picked = false and priority = level.priority and execution_time <= now()
      order by priority desc nulls last, execution_time limit %(most)s
    ) as ranked
    union all
    select * from (
      select 1 from {table}
      where picked = false and level.priority is null and priority is null and execution_time <= now()
      order by priority desc nulls last, execution_time limit %(most)s
    ) as unranked
  ) as found
  limit %(most)s
),
coming as (
  select consecutive_failures
  from level
  cross join lateral (
    select * from (
      select consecutive_failures from {table}
      where picked = false and priority = level.priority and execution_time > now()
      order by priority desc nulls last, execution_time limit %(most)s
    ) as ranked
    union all
    select * from (
      select consecutive_failures from {table}
      where picked = false and level.priority is null and priority is null and execution_time > now()
      order by priority desc nulls last, execution_time limit %(most)s
    ) as unranked
  ) as found
  limit %(most)s
)
select
  (select count(*) from due),
  (select count(*) from coming where consecutive_failures = 0),
  (select count(*) from (select 1 from {table} where picked order by picked_by limit %(most)s) as running),
  (
    select count(*) from (
      select 1 from {table}
      where picked = false and consecutive_failures > 0 and execution_time > now()
      order by execution_time limit %(most)s
    ) as retrying
  ),
  (select count(*) from (select 1 from {failed_table} order by id limit %(most)s) as failed)
