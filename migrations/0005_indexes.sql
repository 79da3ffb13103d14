-- Indexes that keep the cost of a pick where it is, whatever else the table holds.
-- On a table that is in use they are built one by one, without keeping anybody from working.

-- The order of picks.
create index {concurrently} if not exists {order_index}
  on {table} (priority desc nulls last, execution_time, seq) where picked = false;

-- Each task's own queue: where it begins is one look, however many rows of other tasks lie before it.
create index {concurrently} if not exists {queue_index}
  on {table} (task_name, priority desc nulls last, execution_time) where picked = false;

-- What each poller holds. The heartbeat itself is in no index, so that refreshing it writes no index entry (HOT).
create index {concurrently} if not exists {held_index} on {table} (picked_by) where picked;

drop index {concurrently} if exists {old_picker_index};

drop index {concurrently} if exists {old_heartbeat_index};

-- Those that failed and will be tried again: few, and somebody will ask for them among millions.
create index {concurrently} if not exists {retrying_index}
  on {table} (execution_time) where picked = false and consecutive_failures > 0;
