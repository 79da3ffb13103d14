-- Promise: each index of ours by its name, and each other one of our tables that is invalid: its quoted name (null where it
-- isn't there), whether it can be used, and whether one of its table may be being built right now. That is told by its
-- lock, which everybody may see (a vacuum has the same).
with ours as (
  select oid from unnest(%(tables)s::text[]) as given (name)
  join pg_class on pg_class.oid = to_regclass(given.name)
),
found as (
  select relname::text as name, format('%%I.%%I', nspname, relname) as quoted,
    indisvalid and indisready and indislive as is_usable,
    exists (
      select from pg_locks
      where locktype = 'relation' and relation = indrelid and mode = 'ShareUpdateExclusiveLock' and granted
        and database = (select oid from pg_database where datname = current_database())
    ) as is_being_built
  from pg_index
  join pg_class on pg_class.oid = indexrelid
  join pg_namespace on pg_namespace.oid = relnamespace
  where indrelid in (select oid from ours)
)
select coalesce(expected.name, found.name), found.quoted, coalesce(found.is_usable, false),
  coalesce(found.is_being_built, false)
from unnest(%(indexes)s::text[]) as expected (name)
full join found on found.name = expected.name
where expected.name is not null or not found.is_usable
order by 1
