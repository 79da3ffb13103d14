-- Promise: each index of ours on these tables, our primary keys, and what broken rebuilds of them left there: its name,
-- the same quoted, the name that a rebuild began with (the same where none did), whether it can be used, its size, and
-- what its entries would need if it were new (null where nothing was counted yet). An entry has 12 bytes beside its
-- columns, pages are filled to 90 %; a column that has no statistics is taken for 32 bytes.
with found as (
  select relname::text as name, format('%%I.%%I', nspname, relname) as quoted, indexrelid, indrelid, indkey, indisprimary,
    regexp_replace(relname::text, '_cc(new|old)[0-9]*$', '') as origin,
    indisvalid and indisready and indislive as is_usable, greatest(reltuples, -1) as entries
  from pg_index
  join pg_class on pg_class.oid = indexrelid
  join pg_namespace on pg_namespace.oid = relnamespace
  where indrelid = any (select to_regclass(given) from unnest(%(tables)s::text[]) as given)
),
ours as (
  select * from found
  where origin = any (%(indexes)s::text[]) or origin in (select name from found where indisprimary)
)
select name, quoted, origin, is_usable, pg_relation_size(indexrelid),
  case when entries >= 0 then (
    select current_setting('block_size')::bigint
      + (entries * (12 + 8 * ceil(sum(coalesce(avg_width, 32)) / 8.0)) / 0.9)::bigint
    from unnest(indkey::smallint[]) as key (number)
    left join pg_attribute on attrelid = indrelid and attnum = key.number
    left join pg_stats
      on format('%%I.%%I', schemaname, tablename)::regclass = indrelid and pg_stats.attname = pg_attribute.attname
        and not inherited
  ) end
from ours
order by name
