-- The tasks that have executions waiting, by a loose scan of the queue index: one look each, at most 1000 of them. Goes
-- behind `with recursive`; the last row may be null.
name (task_name, number) as (
  select * from (select task_name, 1 from {table} where picked = false order by task_name limit 1) as first
  union all
  select (
    select task_name from {table} where picked = false and task_name > name.task_name order by task_name limit 1
  ), number + 1
  from name where task_name is not null and number < 1000
)
