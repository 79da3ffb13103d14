-- Promise: for each poller that holds executions: how many, some of their tasks, how many have no heartbeat at all, and the
-- seconds since the newest heartbeat of the others.
-- Plan: the held index; as many rows as all workers have picked.
select picked_by, count(*), (array_agg(distinct task_name))[1:5], count(*) filter (where last_heartbeat is null),
  (extract(epoch from now()) - extract(epoch from max(last_heartbeat)))::float8
from {table}
where picked
group by picked_by
order by picked_by
