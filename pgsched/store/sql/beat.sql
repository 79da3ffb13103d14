-- Promise: everything that these pollers hold is alive as of now.
-- Rows that a completion has locked are skipped: they are being let go, and waiting could deadlock with it.
-- Plan: `last_heartbeat is not null` is what makes the heartbeat index usable: only picked rows have one.
update {table}
set last_heartbeat = now()
where ctid = any (array (
  select ctid from {table}
  where picked and last_heartbeat is not null and picked_by = any (%(pollers)s::text[])
  for update skip locked
))
returning 1
