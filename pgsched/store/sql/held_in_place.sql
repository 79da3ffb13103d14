-- The very row version that the pick wrote: the quick way, which misses what a heartbeat has moved since. A place may be
-- used again after a vacuum, but never with the same writer.
execution.ctid = held.place and execution.xmin = held.writer
