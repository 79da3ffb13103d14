-- How often in a row an execution ran in a process that died, beside others: any of them may have killed it.
alter table {table} add column if not exists suspicions int not null default 0;
