-- Promise: when each of these recurring tasks runs next and when it last succeeded, in Unix time.
-- Plan: the primary key.
select task_name, extract(epoch from execution_time)::float8, extract(epoch from last_success)::float8
from {table}
where task_name = any (%(tasks)s::text[]) and task_instance = %(instance)s
