-- Promise: the recurring tasks of the workers here, those not seen lately too, with their execution (nulls where there
-- is none) as a reader sees it; at most 1000.
with known (name) as (
  select distinct unnest(recurring) from {workers_table} order by 1 limit 1000
)
select known.name, execution.state, execution.at, execution.success, execution.failure, execution.consecutive_failures
from known
left join lateral (
  select {state} as state, {execution_time} as at, {last_success} as success, {last_failure} as failure,
    consecutive_failures
  from {table}
  where task_name = known.name and task_instance = %(instance)s
) as execution on true
order by known.name
