-- Who works here: one row a worker, written by itself every few seconds and removed at its end. Nothing is coordinated
-- by it: it is for people (`pgsched status`, `pgsched doctor`).
-- Works with: 6
create table if not exists {workers_table} (
  worker               text        primary key,
  host                 text        not null,
  pid                  int         not null,
  version              text        not null,
  started_at           timestamptz not null,
  seen_at              timestamptz not null default now(),
  seen_every           interval    not null,
  state                text        not null,
  pollers              int         not null,
  slots                int         not null,
  busy                 int         not null,
  progressed_at        timestamptz,
  clock_offset         interval    not null,
  hears_notifications  boolean     not null,
  tasks                text[]      not null,
  recurring            text[]      not null default array[]::text[]
);

-- Its rows are written again and again and no index changes with them: with room on the page that leaves nothing to sweep.
-- Giving the table's end back to the system would take a lock that stops everybody. The leases are a few rows, and need neither.
alter table {workers_table} set (fillfactor = 50, vacuum_truncate = off);

-- What only one worker is to do at a time: who does it, and until when nobody else may.
create table if not exists {leases_table} (
  lease                text        primary key,
  holder               text        not null,
  until                timestamptz not null
);
