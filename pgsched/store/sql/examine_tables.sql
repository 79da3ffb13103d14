-- Promise: of each of these tables, in their order: its name as given, its quoted name (null where it isn't there) and schema, which of the
-- rights to read and write it we lack, and whether row security hides rows of it from us.
-- The catalog is asked, not `to_regclass`, which fails where we may not use the schema: that is to be told.
select given.name, found.name, found.schema, coalesce(has_schema_privilege(found.schema_id, 'usage'), false),
  array (
    select needed from unnest(array ['select', 'insert', 'update', 'delete']) as needed
    where not has_table_privilege(found.id, needed)
  ),
  coalesce(found.has_row_security and row_security_active(found.id), false)
from unnest(%(tables)s::text[]) with ordinality as given (name, number)
left join lateral (
  select pg_class.oid as id, pg_namespace.oid as schema_id, quote_ident(nspname) as schema,
    format('%%I.%%I', nspname, relname) as name, relrowsecurity as has_row_security
  from pg_class
  join pg_namespace on pg_namespace.oid = relnamespace
  where relname = given.name and relkind in ('r', 'p')
    and (nspname = %(schema)s or (%(schema)s::text is null and nspname = any (current_schemas(true))))
  order by array_position(current_schemas(true), nspname)
  limit 1
) as found on true
order by given.number
