-- Those of our tasks whose heartbeat is older than the timeout, or as far in the future (a clock was wrong once).
select task_name, task_instance, picked_by as poller from {table}
where picked and task_name = any (%(tasks)s::text[])
  and (last_heartbeat < now() - %(timeout)s or last_heartbeat > now() + %(timeout)s)
order by last_heartbeat
limit %(limit)s
for update skip locked
