-- Promise: the schema that the table is in, or would be made in; null where the search path leads to none.
select coalesce(
  (select nspname::text from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    where pg_class.oid = to_regclass(%(table)s)),
  current_schema()::text
)
