-- Promise: the tasks with executions that failed and will be tried again: how many, how often in a row at most, and when
-- last; those with most first, at most `limit`.
-- Plan: the retrying index, its first `most` entries.
select task_name, count(*), max(consecutive_failures), max({last_failure})
from (
  select task_name, consecutive_failures, last_failure from {table}
  where picked = false and consecutive_failures > 0
  order by execution_time
  limit %(most)s
) as failing
group by task_name
order by count(*) desc, task_name
limit %(limit)s
