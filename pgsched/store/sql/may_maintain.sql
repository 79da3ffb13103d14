-- Promise: the role, and those of these tables that it may not maintain: it owns them, or may since Postgres 17.
select current_user::text, array (
  select given.name
  from unnest(%(tables)s::text[]) as given (name)
  join pg_class on pg_class.oid = to_regclass(given.name)
  where not pg_has_role(relowner, 'usage')
    and not case
      when current_setting('server_version_num')::int >= 170000 then has_table_privilege(pg_class.oid, 'maintain')
      else false
    end
)
