-- Promise: up to `limit` due executions of these tasks become picked by this poller, most urgent first;
-- no row is given to two pollers, none is waited for. One row is always answered, so that the database's
-- time of the pick is known even when nothing was due (next_due asks for what comes after that very instant).
-- Plan: the picker index gives the order; the update goes by ctid, since a join on the key may flip to a
-- sequential scan from some 500 rows a pick on (measured: 38 µs against 21 µs an execution).
with picked as (
  update {table} as execution
  set picked = true, picked_by = %(poller)s, last_heartbeat = now(), version = version + 1
  where ctid = any (array (
    select ctid from {table}
    where picked = false and execution_time <= now() and task_name = any (%(tasks)s::text[])
    order by priority desc nulls last, execution_time
    limit %(limit)s
    for update skip locked
  ))
  returning task_name, task_instance, task_data::text as task_data, {execution_time} as execution_time, version,
    priority, consecutive_failures, crashes, {last_success} as last_success, {last_failure} as last_failure
)
select now() as picked_at, picked.task_name, picked.task_instance, picked.task_data, picked.execution_time,
  picked.version, picked.priority, picked.consecutive_failures, picked.crashes, picked.last_success,
  picked.last_failure
from (values (1)) as always left join picked on true
order by picked.priority desc nulls last, picked.execution_time
