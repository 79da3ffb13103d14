-- Promise: the tasks with failed executions among the newest `most`: how many, when the last one failed, and of what;
-- those with most first, at most `limit`.
select by_task.task_name, by_task.executions, last.failed_at, left(last.error, 200)
from (
  select task_name, count(*) as executions, max(id) as last_id
  from (select id, task_name from {failed_table} order by id desc limit %(most)s) as failed
  group by task_name
  order by count(*) desc, task_name
  limit %(limit)s
) as by_task
join {failed_table} as last on last.id = by_task.last_id
order by by_task.executions desc, by_task.task_name
