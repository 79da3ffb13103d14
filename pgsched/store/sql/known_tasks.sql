-- Promise: the tasks that live workers have told of, and how many workers that are.
-- Plan: the workers' table, which has a row a worker.
select coalesce(array_agg(distinct task) filter (where task is not null), array[]::text[]),
  count(distinct worker)
from {workers_table}
left join lateral unnest(tasks) as task on true
where seen_at > now() - 3 * seen_every
