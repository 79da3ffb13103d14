-- Whatever this poller held: it is known to be gone, and so is what it was running. What ran alone has killed it.
select task_name, task_instance, picked_by as poller, seq = any (%(started)s::bigint[]) as is_suspect,
  seq = any (%(started)s::bigint[]) and cardinality(%(started)s::bigint[]) = 1 as is_guilty
from {table}
where picked and picked_by = %(poller)s
limit %(limit)s
for update skip locked
