-- Promise: as `schedule`, for one execution; one row is answered where it is new, none where it is there.
-- A commit that notifies has a lock of the whole database to itself (measured, 32 clients: 34,000/s without, 7,000/s
-- with). So one that `is_alone` in its transaction leaves it to another that is just about to notify: pollers look
-- again 50 ms after each notification. It says when the execution is due, and its priority: the first pick finds it.
with added as (
  insert into {table} (task_name, task_instance, task_data, execution_time, priority, trace_context)
  values (
    %(task_name)s, %(task_instance)s, %(data)s::jsonb,
    coalesce(%(at)s::timestamptz, now() + %(delay)s::interval, now()), %(priority)s::int,
    %(trace_context)s::text
  )
  on conflict (task_name, task_instance) do nothing
  returning execution_time, priority
)
select case when not (
    %(is_alone)s::boolean and execution_time <= now()
    and not pg_try_advisory_xact_lock(hashtextextended(%(channel)s, 0))
  ) then pg_notify(%(channel)s, extract(epoch from execution_time)::text || ' ' || coalesce(priority::text, '-')) end
from added
