-- Promise: the newest failed execution of this instance is gone. Answers how many were deleted.
with newest as (
  select id from {failed_table}
  where task_name = %(task_name)s and task_instance = %(task_instance)s
  order by id desc
  limit 1
),
gone as (
  delete from {failed_table} where id in (select id from newest)
  returning id
)
select count(*) from gone
