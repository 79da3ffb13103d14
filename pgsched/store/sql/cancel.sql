-- Promise: deletes an execution that isn't running. Answers how many, and whether there was one at all.
with gone as (
  delete from {table}
  where task_name = %(task_name)s and task_instance = %(task_instance)s and picked = false
  returning 1
)
select count(*),
  exists (
    select 1 from {table} where task_name = %(task_name)s and task_instance = %(task_instance)s
  )
from gone
