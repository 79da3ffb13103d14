-- Promise: as `schedule`, for one execution; one row is answered where it is new, none where it is there.
-- A commit that notifies has a lock of the whole database to itself (measured, 32 clients: 34,000/s without, 7,000/s
-- with). So one that `is_alone` in its transaction leaves it to another of the same queue which is due in the same
-- 20 ms and still waits, or which is about to commit: pollers look again 50 ms after each notification.
with added as (
  insert into {table} (task_name, task_instance, task_data, execution_time, priority)
  values (
    %(task_name)s, %(task_instance)s, %(data)s::jsonb,
    coalesce(%(at)s::timestamptz, now() + %(delay)s::interval, now()), %(priority)s::int
  )
  on conflict (task_name, task_instance) do nothing
  returning execution_time
)
select case when not (
    %(is_alone)s::boolean and execution_time <= now() and (
      case when %(priority)s::int is null then exists (
        select 1 from {table}
        where picked = false and task_name = %(task_name)s and priority is null
          and execution_time between date_bin('20 ms', now(), 'epoch') and now()
      ) else exists (
        select 1 from {table}
        where picked = false and task_name = %(task_name)s and priority = %(priority)s::int
          and execution_time between date_bin('20 ms', now(), 'epoch') and now()
      ) end
      or not pg_try_advisory_xact_lock(hashtextextended(%(channel)s, 0))
    )
  ) then pg_notify(%(channel)s, extract(epoch from execution_time)::text) end
from added
