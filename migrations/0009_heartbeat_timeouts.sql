-- By which timeout a worker wants to be judged: another one, with a shorter one of its own, must not call it dead sooner.
-- Works with: 6
alter table {workers_table} add column if not exists heartbeat_timeout interval;
