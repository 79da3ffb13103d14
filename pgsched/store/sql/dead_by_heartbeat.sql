-- Those of our tasks whose poller is dead: among all that it holds, no heartbeat is within the timeout (nor as far in the
-- future: a clock was wrong once): ours, or its worker's own where that is longer, which then beats as rarely.
-- A beat is for all that a poller holds, so what it picked since tells how long it lived.
-- The pollers of a worker may die at once: while one has not beaten for half of the timeout, the others are not judged.
-- Other programs beat for each execution by itself and may forget one: that is dead after twice the timeout.
-- Guilty is what died as the only one of its worker, in this round and earlier ones of the same sweep, or had been given a
-- worker's one place for twice suspected ones.
with held as materialized (
  select execution.ctid, task_name, last_heartbeat, picked_by, {worker_of_poller} as worker, timeout,
    last_heartbeat between now() - timeout and now() + timeout as is_beaten
  from {table} as execution
  left join unnest(%(workers)s::text[], %(timeouts)s::interval[]) as told (worker, longer)
    on told.worker = {worker_of_poller}
  cross join lateral (select coalesce(told.longer, %(timeout)s) as timeout) as judged
  where picked and last_heartbeat is not null
    and (%(expected_now)s::timestamptz is null
      or now() between %(expected_now)s::timestamptz - %(timeout)s / 4 and %(expected_now)s::timestamptz + %(timeout)s / 4)
),
by_poller as (
  select *, bool_or(is_beaten) over poller as is_alive,
    max(last_heartbeat) filter (where is_beaten) over poller < now() - timeout / 2 as is_fading
  from held
  window poller as (partition by picked_by)
),
by_worker as (
  select *, bool_or(is_fading) over (partition by worker) as is_worker_fading from by_poller
),
dead as materialized (
  select ctid, task_name, last_heartbeat, worker
  from by_worker
  where (not is_alive and is_worker_fading is not true) or last_heartbeat < now() - 2 * timeout
),
alone as (
  select worker from dead
  where worker <> all (%(companions)s::text[])
  group by worker
  having count(*) = 1
)
select task_name, task_instance, picked_by as poller, true as is_suspect,
  suspicions > %(most_suspicions)s
    or coalesce({worker_of_poller} in (select worker from alone), true) as is_guilty
from {table}
where ctid = any (array (
    select ctid from dead where task_name = any (%(tasks)s::text[]) order by last_heartbeat limit %(limit)s
  ))
  and picked and (last_heartbeat < now() - %(timeout)s or last_heartbeat > now() + %(timeout)s)
for update skip locked
