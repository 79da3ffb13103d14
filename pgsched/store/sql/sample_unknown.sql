-- Promise: how many executions wait of tasks other than these, none counted beyond %(most)s.
-- Plan: a loose scan of the queue index for the names, then entries of that index; at most 1000 tasks.
with recursive {name_waiting}
select count(*) from (
  select 1
  from name
  cross join lateral (
    select 1 from {table} where picked = false and task_name = name.task_name
    order by task_name, priority desc nulls last, execution_time
    limit %(most)s
  ) as waiting
  where name.task_name <> all (%(tasks)s::text[])
  limit %(most)s
) as unknown
