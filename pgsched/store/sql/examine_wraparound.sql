-- Promise: how many transactions old the oldest one is that this database still tells apart, and the table which keeps it.
select age(datfrozenxid), oldest.name, oldest.age
from pg_database
cross join (
  select format('%%I.%%I', nspname, relname) as name, age(relfrozenxid)
  from pg_class
  join pg_namespace on pg_namespace.oid = relnamespace
  where relkind in ('r', 'm', 't') and relfrozenxid <> '0' -- where another access method keeps none
  order by 2 desc
  limit 1
) as oldest
where datname = current_database()
