-- How often in a row a worker died while it ran this execution.
alter table {table} add column if not exists crashes int not null default 0;
