-- Whatever this poller held: it is known to be gone, and so is what it had started. The only one of these has killed it.
-- Of many these come first, so that they are judged together; of what is found later (it was locked, or one look has not
-- taken all) others are known to have been there (`has_companions`).
select task_name, task_instance, picked_by as poller, seq = any (%(started)s::bigint[]) as is_suspect,
  seq = any (%(started)s::bigint[]) and not %(has_companions)s and (
    select count(*) from {table} where picked and picked_by = %(poller)s and seq = any (%(started)s::bigint[])
  ) = 1 as is_guilty
from {table}
where picked and picked_by = %(poller)s
order by is_suspect desc
limit %(limit)s
for update skip locked
