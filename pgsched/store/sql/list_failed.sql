-- Promise: failed executions, newest first, those of one task where given.
select task_name, task_instance, task_data::text, {execution_time}, false as picked, picked_by, {last_success},
  {last_failure}, consecutive_failures, null::timestamptz as last_heartbeat, version, priority, crashes,
  'failed' as state, error, traceback, attempts, failed_at
from {failed_table}
where %(task_name)s::text is null or task_name = %(task_name)s
order by id desc
limit %(limit)s
