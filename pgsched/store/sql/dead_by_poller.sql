-- Whatever this poller held: it is known to be gone.
select task_name, task_instance, picked_by as poller from {table}
where picked and picked_by = %(poller)s
limit %(limit)s
for update skip locked
