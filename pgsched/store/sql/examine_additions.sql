-- Promise: what somebody has added to these tables that can refuse a write of ours: what it is, its quoted name, and the
-- quoted table that it is of (which for a foreign key that refers to one of these is somebody's own). Left out is what
-- can't refuse any: what is disabled, of replicas alone, not enforced (Postgres 18 has a column for that), for truncate,
-- the server's own triggers, and a unique index that the primary key implies (without such a key all of them are).
with ours as (
  select pg_class.oid, conkey as key
  from unnest(%(tables)s::text[]) as given (name)
  join pg_class on pg_class.oid = to_regclass(given.name)
  left join pg_constraint on conrelid = pg_class.oid and contype = 'p'
),
added as (
  select 'trigger' as kind, quote_ident(tgname) as name, tgrelid as of_table
  from pg_trigger
  where tgrelid in (select oid from ours) and not tgisinternal and tgenabled in ('O', 'A')
    and tgtype::int & (4 | 8 | 16) <> 0 -- insert, delete, update
  union all
  select 'rule', quote_ident(rulename), ev_class
  from pg_rewrite
  where ev_class in (select oid from ours) and ev_type <> '1' and ev_enabled in ('O', 'A')
  union all
  select case contype when 'f' then 'foreign key' else 'check constraint' end, quote_ident(conname), conrelid
  from pg_constraint
  where (conrelid in (select oid from ours) or confrelid in (select oid from ours)) and contype in ('f', 'c')
    and conparentid = 0 and coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::boolean, true)
  union all
  select case contype when 'u' then 'unique constraint' when 'x' then 'exclusion constraint' else 'unique index' end,
    case when conname is null then format('%%I.%%I', nspname, relname) else quote_ident(conname) end, indrelid
  from ours
  join pg_index on indrelid = ours.oid
  join pg_class on pg_class.oid = indexrelid
  join pg_namespace on pg_namespace.oid = relnamespace
  left join pg_constraint on conindid = indexrelid and contype in ('u', 'x')
  where (indisunique or indisexclusion) and not indisprimary and indisvalid
    and not (indkey::smallint[])[0:indnkeyatts - 1] @> ours.key
)
select kind, name, (select format('%%I.%%I', nspname, relname) from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace where pg_class.oid = of_table)
from added
order by of_table, kind, name
