-- Promise: which workers want to be judged by a longer heartbeat timeout than this.
select worker, heartbeat_timeout from {workers_table} where heartbeat_timeout > %(timeout)s
