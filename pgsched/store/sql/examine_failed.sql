-- Promise: how many failed executions there are (100,001 stands for more), and some of their tasks.
select count(*), (array_agg(distinct task_name))[1:5]
from (select task_name from {failed_table} limit 100001) as failed
