-- Promise: who works here, how many executions are in each one's name, and whether it has been seen lately, with the
-- database's time; at most 1000.
-- Plan: entries of the held index, at most `most`.
with held (worker, executions) as (
  select {worker_of_poller}, count(*)
  from (select picked_by from {table} where picked and picked_by is not null limit %(most)s) as picked
  group by 1
)
select worker, host, pid, version, started_at, seen_every, state, pollers, slots, busy, progressed_at, clock_offset,
  hears_notifications, tasks, recurring, heartbeat_timeout, seen_at, {is_alive}, coalesce(held.executions, 0)
from {workers_table}
left join held using (worker)
order by worker
limit 1000
