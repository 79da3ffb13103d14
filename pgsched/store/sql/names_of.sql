-- Which executions this poller is running, of those that have these numbers.
select task_name, task_instance from {table}
where picked and picked_by = %(poller)s and seq = any (%(started)s::bigint[])
limit 100
