-- Promise: everything that these pollers hold is alive as of now; answers how many executions that is,
-- and the database's time. Not now() but the clock, which shows the time after a lock on the table was waited for:
-- a beat must not be old when it is written.
-- Rows that a completion has locked are skipped: they are being let go, and waiting could deadlock with it.
-- Plan: the held index. The heartbeat is in no index: refreshing it on a page with room writes no index entry (HOT).
with beaten as (
  update {table}
  set last_heartbeat = clock_timestamp()
  where ctid = any (array (
    select ctid from {table}
    where picked and picked_by = any (%(pollers)s::text[])
    for update skip locked
  ))
  returning 1
)
select count(*), now() from beaten
