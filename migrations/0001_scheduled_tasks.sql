-- The table, as other programs know it: twelve columns whose meaning never changes.
-- "if not exists" lets a table that another implementation made be adopted as it is.
create table if not exists {table} (
  task_name            text        not null,
  task_instance        text        not null,
  task_data            jsonb,
  execution_time       timestamptz not null default now(),
  picked               boolean     not null default false,
  picked_by            text,
  last_success         timestamptz,
  last_failure         timestamptz,
  consecutive_failures int         not null default 0,
  last_heartbeat       timestamptz,
  version              bigint      not null default 1,
  priority             int,
  primary key (task_name, task_instance)
);

create index if not exists {heartbeat_index} on {table} (last_heartbeat);

create index if not exists {picker_index}
  on {table} (priority desc nulls last, execution_time asc) where picked = false;
