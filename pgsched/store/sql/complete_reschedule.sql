-- Promise: executions are due again at an instant, or so long from now; success resets the failures, failure
-- counts one more; either way the task did not kill its worker, so crashes start anew.
-- After a success a new trace begins; a retry goes on with that of what has scheduled it.
-- Fence: version and picked_by; answers the numbers of those that were really changed.
-- Pollers are notified only of what is due before they would look anyway (`notify_within`).
with changed as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version}, crashes = 0,
    suspicions = 0,
    trace_context = case when held.has_succeeded then null else trace_context end,
    execution_time = coalesce(held.at, now() + held.delay),
    last_success = case when held.has_succeeded then now() else last_success end,
    last_failure = case when held.has_succeeded then last_failure else now() end,
    consecutive_failures = case when held.has_succeeded then 0 else {next_failures} end
  from unnest(
    %(task_names)s::text[], %(task_instances)s::text[], %(places)s::tid[], %(writers)s::xid[], %(versions)s::bigint[],
    %(ats)s::timestamptz[], %(delays)s::interval[], %(successes)s::boolean[]
  ) with ordinality as held (task_name, task_instance, place, writer, version, at, delay, has_succeeded, number)
  where {is_held} and {is_fenced}
  returning held.number, execution.execution_time
),
soonest as (
  select min(execution_time) as execution_time from changed
  where execution_time < now() + %(notify_within)s
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from execution_time)::text) from soonest
  where execution_time is not null
)
select number, (select count(*) from notified) from changed
