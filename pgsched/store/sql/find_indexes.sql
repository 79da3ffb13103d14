-- Promise: each index of ours on these tables, our primary keys, what broken rebuilds of them left there, and each other
-- one that can't be used: its name, the same quoted, the name that a rebuild began with (the same where none did; null
-- where it is somebody else's), whether it can be used, whether one of its table may be being built right now (told by
-- the lock, which everybody may see; a vacuum has the same), its size, and what its entries would need if it were new
-- (null where nothing was counted yet, or the width of a column not known). An entry has 12 bytes beside its columns,
-- pages are filled to 90 %. Rows that have come since the last count may all be in it,
-- unless that was a moment ago (before Postgres 15 the server is half a second late to tell how many there are).
-- Statistics are looked for by name: other tables, which the role may not see, are not touched.
with ours as (
  select pg_class.oid, nspname, relname,
    case when %(is_counted)s then 0 else greatest(0, pg_stat_get_live_tuples(pg_class.oid) - greatest(0, reltuples)) end as new_rows
  from unnest(%(tables)s::text[]) as given (name)
  join pg_class on pg_class.oid = to_regclass(given.name)
  join pg_namespace on pg_namespace.oid = relnamespace
),
found as (
  select pg_class.relname::text as name, format('%%I.%%I', ours.nspname, pg_class.relname) as quoted, indexrelid, indrelid,
    indkey, indisprimary, ours.nspname, ours.relname,
    regexp_replace(pg_class.relname::text, '_cc(new|old)[0-9]*$', '') as origin,
    indisvalid and indisready and indislive as is_usable, pg_class.reltuples + new_rows as entries, pg_class.reltuples >= 0 as is_known
  from ours
  join pg_index on indrelid = ours.oid
  join pg_class on pg_class.oid = indexrelid
),
judged as (
  select *, origin = any (%(indexes)s::text[]) or origin in (select name from found where indisprimary) as is_ours
  from found
)
select name, quoted, case when is_ours then origin end, is_usable,
  exists (
    select from pg_locks
    where locktype = 'relation' and relation = indrelid and mode = 'ShareUpdateExclusiveLock' and granted
      and database = (select oid from pg_database where datname = current_database())
  ),
  coalesce(pg_relation_size(indexrelid), 0),
  case when is_ours and is_known then current_setting('block_size')::bigint + case entries when 0 then 0 else (
    select (entries * (12 + 8 * ceil(sum(avg_width) / 8.0)) / 0.9)::bigint
    from unnest(indkey::smallint[]) as key (number)
    left join pg_attribute on attrelid = indrelid and attnum = key.number
    left join pg_stats
      on pg_stats.schemaname = judged.nspname and pg_stats.tablename = judged.relname
        and pg_stats.attname = pg_attribute.attname and not inherited
    having count(avg_width) = count(*)
  ) end end
from judged
where is_ours or not is_usable
order by name
