-- Promise: dead executions are due again with one crash more and no retry used; those that reach `max_crashes`
-- in a row become failed executions. Nobody else's row is waited for. {dead} says which are dead.
-- Plan: by key; as in is_fenced.sql a plain `picked` would let the planner read all that is held for each of them.
with dead as materialized (
  {dead}
),
recovered as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = version + 1, crashes = crashes + 1
  from dead
  where execution.task_name = dead.task_name and execution.task_instance = dead.task_instance
    and execution.picked::int = 1 and execution.crashes + 1 < %(max_crashes)s
  returning execution.task_name, execution.task_instance, dead.poller, execution.crashes, execution.execution_time
),
gone as (
  delete from {table} as execution
  using dead
  where execution.task_name = dead.task_name and execution.task_instance = dead.task_instance
    and execution.picked::int = 1 and execution.crashes + 1 >= %(max_crashes)s
  returning execution.*, dead.poller
),
buried as (
  insert into {failed_table} (
    task_name, task_instance, task_data, execution_time, picked_by, last_success, last_failure,
    consecutive_failures, version, priority, crashes, attempts, error
  )
  select task_name, task_instance, task_data, execution_time, poller, last_success, last_failure,
    consecutive_failures, version + 1, priority, crashes + 1, consecutive_failures + crashes + 1,
    'WorkerDied: its worker died ' || (crashes + 1) || ' times in a row while running it'
  from gone
  returning task_name, task_instance, picked_by as poller, crashes
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from recovered having count(*) > 0
)
select task_name, task_instance, poller, crashes, false as is_buried, (select count(*) from notified)
from recovered
union all
select task_name, task_instance, poller, crashes, true, 0 from buried
