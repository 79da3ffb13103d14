-- Promise: dead executions are due again, no retry used. Those that killed their process have one crash more, and become
-- failed executions when that makes `max_crashes`; those that may have done it have one suspicion more; the others are as
-- before. Nobody else's row is waited for. {dead} says which are dead, and of what each is thought.
-- Plan: by key; as in is_fenced.sql a plain `picked` would let the planner read all that is held for each of them.
with dead as materialized (
  {dead}
),
recovered as (
  update {table} as execution
  set picked = false, picked_by = null, last_heartbeat = null, version = {next_version},
    crashes = case when dead.is_guilty then {next_crashes} else crashes end,
    suspicions = least(suspicions, 2147483646) + dead.is_suspect::int
  from dead
  where execution.task_name = dead.task_name and execution.task_instance = dead.task_instance
    and execution.picked::int = 1 and not (dead.is_guilty and {next_crashes} >= %(max_crashes)s)
  returning execution.task_name, execution.task_instance, dead.poller, execution.crashes, dead.is_suspect,
    execution.execution_time
),
gone as (
  delete from {table} as execution
  using dead
  where execution.task_name = dead.task_name and execution.task_instance = dead.task_instance
    and execution.picked::int = 1 and dead.is_guilty and {next_crashes} >= %(max_crashes)s
  returning execution.*, dead.poller
),
buried as (
  insert into {failed_table} (
    task_name, task_instance, task_data, execution_time, picked_by, last_success, last_failure,
    consecutive_failures, version, priority, crashes, attempts, error
  )
  select task_name, task_instance, task_data, execution_time, poller, last_success, last_failure,
    consecutive_failures, {next_version}, priority, {next_crashes}, {attempts},
    'WorkerDied: its worker died ' || ({next_crashes}) || ' times in a row while running it'
      || coalesce(', the last time by ' || %(cause)s::text, '')
  from gone as execution
  returning task_name, task_instance, picked_by as poller, crashes
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from min(execution_time))::text) from recovered having count(*) > 0
)
select task_name, task_instance, poller, crashes, is_suspect, false as is_buried, (select count(*) from notified)
from recovered
union all
select task_name, task_instance, poller, crashes, true, true, 0 from buried
