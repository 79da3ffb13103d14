-- Those of our tasks whose heartbeat is older than the timeout, or as far in the future (a clock was wrong once).
-- Guilty is what died as the only one of its worker, or had been given a worker's one place for twice suspected ones.
with silent as materialized (
  select ctid, task_name, regexp_replace(picked_by, '/[^/]*$', '') as worker, last_heartbeat
  from {table}
  where picked and (last_heartbeat < now() - %(timeout)s or last_heartbeat > now() + %(timeout)s)
    and (%(expected_now)s::timestamptz is null
      or now() between %(expected_now)s::timestamptz - %(timeout)s / 4 and %(expected_now)s::timestamptz + %(timeout)s / 4)
),
alone as (
  select worker from silent group by worker having count(*) = 1
)
select task_name, task_instance, picked_by as poller, true as is_suspect,
  suspicions > %(most_suspicions)s
    or coalesce(regexp_replace(picked_by, '/[^/]*$', '') in (select worker from alone), true) as is_guilty
from {table}
where ctid = any (array (
    select ctid from silent where task_name = any (%(tasks)s::text[]) order by last_heartbeat limit %(limit)s
  ))
  and picked and (last_heartbeat < now() - %(timeout)s or last_heartbeat > now() + %(timeout)s)
for update skip locked
