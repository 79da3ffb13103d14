-- Promise: what this worker says of itself is known, as of now; whoever has not been seen for an hour is forgotten, but
-- not while executions are in its name: nobody who works here may know their tasks.
-- Whoever judges it does so by the longest timeout that it has had: after a reload that shortens it, processes from before
-- go on beating as rarely as they did. (Who was not seen for so long that it is not alive has died, and started anew.)
-- Fence: who drains doesn't write over another process of this name: after a reload that is its successor's row.
-- Neither waits for a row that somebody has locked for long: the worker's lock_timeout is short here.
-- Plan: a loose scan of the held index, one look for each poller and at most 1000, only where somebody is to be forgotten.
with recursive holder (picked_by, number) as (
  select * from (
    select picked_by, 1 from {table} where picked and picked_by is not null order by picked_by limit 1
  ) as first
  union all
  select next.picked_by, holder.number + 1
  from holder
  cross join lateral (
    select picked_by from {table} where picked and picked_by > holder.picked_by order by picked_by limit 1
  ) as next
  where holder.number < 1000
),
forgotten as (
  delete from {workers_table}
  where worker = any (array (
    select worker from {workers_table}
    where seen_at < now() - interval '1 hour' and worker <> %(worker)s
      and worker not in (select {worker_of_poller} from holder)
    for update skip locked
  ))
)
insert into {workers_table} (worker, host, pid, version, started_at, seen_at, seen_every, state, pollers, slots, busy,
  progressed_at, clock_offset, hears_notifications, tasks, recurring, heartbeat_timeout)
values (%(worker)s, %(host)s, %(pid)s, %(version)s, %(started_at)s, now(), %(seen_every)s, %(state)s, %(pollers)s,
  %(slots)s, %(busy)s, %(progressed_at)s, %(clock_offset)s, %(hears_notifications)s, %(tasks)s, %(recurring)s,
  %(heartbeat_timeout)s)
on conflict (worker) do update
set (host, pid, version, started_at, seen_at, seen_every, state, pollers, slots, busy, progressed_at, clock_offset,
  hears_notifications, tasks, recurring, heartbeat_timeout)
  = (excluded.host, excluded.pid, excluded.version, excluded.started_at, excluded.seen_at, excluded.seen_every,
  excluded.state, excluded.pollers, excluded.slots, excluded.busy, excluded.progressed_at, excluded.clock_offset,
  excluded.hears_notifications, excluded.tasks, excluded.recurring,
  case
    when {workers_table}.seen_at < now() - 3 * {workers_table}.seen_every then excluded.heartbeat_timeout
    else greatest({workers_table}.heartbeat_timeout, excluded.heartbeat_timeout)
  end)
where excluded.state = 'running'
  or ({workers_table}.host, {workers_table}.pid) = (excluded.host, excluded.pid)
returning 1
