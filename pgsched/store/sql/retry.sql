-- Promise: the newest failed execution of this instance is due now, all counts anew; its version goes on growing.
-- Answers whether there was one, and whether it went back (not where the instance is scheduled again already).
with newest as (
  select id from {failed_table}
  where task_name = %(task_name)s and task_instance = %(task_instance)s
  order by id desc
  limit 1
  for update
),
restored as (
  insert into {table} (task_name, task_instance, task_data, priority, last_success, last_failure, version)
  select task_name, task_instance, task_data, priority, last_success, last_failure, {next_version}
  from {failed_table} as execution join newest using (id)
  on conflict (task_name, task_instance) do nothing
  returning execution_time
),
gone as (
  delete from {failed_table}
  where id in (select id from newest) and exists (select 1 from restored)
  returning id
),
notified as (
  select pg_notify(%(channel)s, extract(epoch from execution_time)::text) from restored
)
select (select count(*) from newest), (select count(*) from gone), (select count(*) from notified)
