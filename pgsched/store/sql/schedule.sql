-- Promise: inserts what is not there yet, never overwrites; answers the new ones.
-- Wakes pollers once, with the soonest new time, when the transaction commits.
-- Sorted by key, so that two callers who schedule the same instances do not deadlock.
with added as (
  insert into {table} (task_name, task_instance, task_data, execution_time, priority, trace_context)
  select wanted.task_name, wanted.task_instance, wanted.task_data::jsonb,
    coalesce(wanted.at, now() + %(delay)s::interval, now()), wanted.priority, wanted.trace_context
  from unnest(
    %(task_names)s::text[], %(task_instances)s::text[], %(data)s::text[],
    %(ats)s::timestamptz[], %(priorities)s::int[], %(trace_contexts)s::text[]
  ) as wanted (task_name, task_instance, task_data, at, priority, trace_context)
  order by wanted.task_name, wanted.task_instance
  on conflict (task_name, task_instance) do nothing
  returning execution_time
),
soonest as (
  select min(execution_time) as execution_time, count(*) as added from added
)
select added,
  case when added > 0 then pg_notify(%(channel)s, extract(epoch from execution_time)::text) end
from soonest
