-- Promise: leases that nobody has taken for a month are gone.
delete from {leases_table} where until < clock_timestamp() - interval '30 days' returning lease
