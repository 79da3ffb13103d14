-- Promise: how many connections there are, how many of them are workers' here (by their names), and how many there may be: on
-- the server for those who are no superusers, for this role, in this database (null: no limit).
with session as (
  select * from pg_stat_activity where datid is not null and usesysid is not null and leader_pid is null
)
select (select count(*) from session), (
    select count(*) from session where datname = current_database() and application_name like 'pgsched %%/%%'
  ),
  (
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
      - coalesce(current_setting('reserved_connections', true)::int, 0)
  ),
  (select count(*) from session where usename = current_user),
  (select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
  (select count(*) from session where datname = current_database()),
  (select nullif(datconnlimit, -1) from pg_database where datname = current_database())
