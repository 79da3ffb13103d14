-- Promise: what keeps the row versions of this database from being swept, the oldest first: open transactions, prepared
-- ones, replication slots, and standbys that ask for it. Vacuums pin nothing; index builds end by themselves.
-- Slots and standbys have no time; they are told by how many transactions ago it was.
select 'transaction' as kind, pid::text as name, usename::text, application_name, state, now() - xact_start as open_for,
  greatest(age(backend_xmin), age(backend_xid)) as transactions
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type not in ('walsender', 'parallel worker')
  and (backend_xmin is not null or backend_xid is not null) and xact_start < now() - %(open_for)s
  and pid not in (select pid from pg_stat_progress_vacuum union all select pid from pg_stat_progress_create_index)
union all
select 'prepared transaction', gid, owner::text, '', 'prepared', now() - prepared, age(transaction)
from pg_prepared_xacts
where database = current_database() and prepared < now() - %(open_for)s
union all
select 'replication slot', slot_name::text, '', '', case when active then 'active' else 'inactive' end, null, age(xmin)
from pg_replication_slots
where age(xmin) > %(transactions)s
union all
select 'standby', pid::text, usename::text, application_name, state, null, age(backend_xmin)
from pg_stat_replication
where age(backend_xmin) > %(transactions)s
order by open_for desc nulls last, transactions desc
limit 20
