-- Promise: who works here, and whether it has been seen lately, with the database's time; at most 1000.
select worker, host, pid, version, started_at, seen_every, state, pollers, slots, busy, progressed_at, clock_offset,
  hears_notifications, tasks, recurring, seen_at, {is_alive}
from {workers_table}
order by worker
limit 1000
