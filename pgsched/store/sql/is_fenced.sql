-- The fence of every write of a result: still picked, by the same start of the same poller, and not touched since.
-- A plain `picked` would let the planner take the held index, which is right to find all that a poller holds and wrong
-- (a hundred times as slow, measured) to find a batch of it.
execution.picked::int = 1 and execution.version = held.version and execution.picked_by = %(poller)s
