-- Promise: whatever a poller still held when it ended in order, or was ended by its own supervisor, is due
-- again: no retry used, no crash counted. Only for pollers that are surely gone.
-- Answers how many those are, and how many are left because somebody has locked them: nobody's lock is waited for, which
-- would keep the housekeeper from beating for others.
with free as materialized (
  select ctid from {table} where picked and picked_by = %(poller)s for update skip locked
),
changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version}
  where ctid = any (array (select ctid from free))
  returning execution_time
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from changed having count(*) > 0
)
select (select count(*) from changed),
  (select count(*) from {table} where picked and picked_by = %(poller)s) - (select count(*) from changed),
  (select count(*) from notified)
