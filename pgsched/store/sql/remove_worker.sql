-- Promise: this worker is not here any more.
-- Fence: host and process: under the same name its successor may be at work already.
delete from {workers_table}
where worker = %(worker)s and host = %(host)s and pid = %(pid)s
returning 1
