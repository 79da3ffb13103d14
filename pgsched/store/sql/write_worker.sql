-- Promise: what this worker says of itself is known, as of now; whoever has not been seen for a day is forgotten.
-- Fence: who drains doesn't write over another process of this name: after a reload that is its successor's row.
-- Neither waits for a row that somebody has locked for long: the worker's lock_timeout is short here.
with forgotten as (
  delete from {workers_table}
  where worker = any (array (
    select worker from {workers_table}
    where seen_at < now() - interval '1 day' and worker <> %(worker)s
    for update skip locked
  ))
)
insert into {workers_table} (worker, host, pid, version, started_at, seen_at, seen_every, state, pollers, slots, busy,
  progressed_at, clock_offset, hears_notifications, tasks, recurring)
values (%(worker)s, %(host)s, %(pid)s, %(version)s, %(started_at)s, now(), %(seen_every)s, %(state)s, %(pollers)s,
  %(slots)s, %(busy)s, %(progressed_at)s, %(clock_offset)s, %(hears_notifications)s, %(tasks)s, %(recurring)s)
on conflict (worker) do update
set (host, pid, version, started_at, seen_at, seen_every, state, pollers, slots, busy, progressed_at, clock_offset,
  hears_notifications, tasks, recurring)
  = (excluded.host, excluded.pid, excluded.version, excluded.started_at, excluded.seen_at, excluded.seen_every,
  excluded.state, excluded.pollers, excluded.slots, excluded.busy, excluded.progressed_at, excluded.clock_offset,
  excluded.hears_notifications, excluded.tasks, excluded.recurring)
where excluded.state = 'running'
  or ({workers_table}.host, {workers_table}.pid) = (excluded.host, excluded.pid)
returning 1
