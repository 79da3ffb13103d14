-- Executions whose retries are exhausted: out of the way of every pick, kept until retried or discarded.
-- Their own key, since an instance may be scheduled anew, and fail again, while an earlier one lies here.
create table if not exists {failed_table} (
  id                   bigint generated always as identity primary key,
  task_name            text        not null,
  task_instance        text        not null,
  task_data            jsonb,
  execution_time       timestamptz not null,
  picked_by            text,
  last_success         timestamptz,
  last_failure         timestamptz,
  consecutive_failures int         not null,
  version              bigint      not null,
  priority             int,
  crashes              int         not null,
  attempts             int         not null,
  error                text        not null,
  traceback            text,
  failed_at            timestamptz not null default now()
);

create index if not exists {failed_index} on {failed_table} (task_name, task_instance, id);
