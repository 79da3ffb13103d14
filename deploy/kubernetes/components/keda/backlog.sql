-- How many slots there is work for: the executions that are running, and those that are due and whose task a live worker
-- knows (whatever their task, where no worker is alive). One number, never null, at most 20,000.
-- Cost: some index entries for each task and priority, and one for each execution that it counts: it does not grow with what
-- is scheduled for later. At most 1000 tasks and 100 priorities each.
with recursive told as materialized (
  select tasks from scheduled_tasks_workers where seen_at > now() - 3 * seen_every
),
name (task_name, number) as (
  select * from (
    select task_name, 1 from scheduled_tasks where picked = false order by task_name limit 1
  ) as first
  union all
  select (
    select task_name from scheduled_tasks
    where picked = false and task_name > name.task_name
    order by task_name
    limit 1
  ), number + 1
  from name
  where task_name is not null and number < 1000
),
level (task_name, priority, number) as (
  select name.task_name, head.priority, 1
  from name
  cross join lateral (
    select priority from scheduled_tasks
    where picked = false and task_name = name.task_name
    order by task_name, priority desc nulls last, execution_time
    limit 1
  ) as head
  where not exists (select from told) or exists (select from told where name.task_name = any (tasks))
  union all
  select level.task_name, lower.priority, level.number + 1
  from level
  cross join lateral (
    select * from (
      select priority from scheduled_tasks
      where picked = false and task_name = level.task_name and priority < level.priority
      order by task_name, priority desc nulls last, execution_time
      limit 1
    ) as ranked
    union all
    select * from (
      select priority from scheduled_tasks
      where picked = false and task_name = level.task_name and priority is null
      order by task_name, priority desc nulls last, execution_time
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
      select 1 from scheduled_tasks
      where picked = false and task_name = level.task_name and priority = level.priority and execution_time <= now()
      order by task_name, priority desc nulls last, execution_time
      limit 10000
    ) as ranked
    union all
    select * from (
      select 1 from scheduled_tasks
      where picked = false and task_name = level.task_name
        and level.priority is null and priority is null and execution_time <= now()
      order by task_name, priority desc nulls last, execution_time
      limit 10000
    ) as unranked
  ) as found
  limit 10000
)
select (
  (select count(*) from due)
  + (select count(*) from (select 1 from scheduled_tasks where picked order by picked_by limit 10000) as running)
)::float8
