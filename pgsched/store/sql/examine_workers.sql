-- Promise: every worker that has written its row, as it was when it last did.
select worker, host, pid, version, state, pollers, now() - seen_at, {is_alive}, now() - started_at, clock_offset,
  seen_at - progressed_at, hears_notifications, tasks
from {workers_table}
order by worker
