-- Promise: changes the time, data and priority it is given, and nothing else; never a running execution.
-- Answers how many were changed, and whether there was one at all.
with changed as (
  update {table} as execution
  set version = {next_version},
    execution_time = coalesce(%(at)s::timestamptz, now() + %(delay)s::interval, execution_time),
    task_data = case when %(has_data)s then %(data)s::jsonb else task_data end,
    priority = case when %(has_priority)s then %(priority)s::int else priority end
  where task_name = %(task_name)s and task_instance = %(task_instance)s and picked = false
  returning execution_time
)
select count(*),
  exists (
    select 1 from {table} where task_name = %(task_name)s and task_instance = %(task_instance)s
  ),
  case when count(*) > 0 then pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) end
from changed
