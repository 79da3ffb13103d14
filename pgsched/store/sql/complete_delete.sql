-- Promise: one-time executions that succeeded are gone.
-- Fence: version and picked_by; answers the numbers of those that were really deleted.
delete from {table} as execution
using unnest(
  %(task_names)s::text[], %(task_instances)s::text[], %(places)s::tid[], %(writers)s::xid[], %(versions)s::bigint[]
) with ordinality as held (task_name, task_instance, place, writer, version, number)
where {is_held} and {is_fenced}
returning held.number
