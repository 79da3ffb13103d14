-- Promise: the lease is free, if it was this holder's.
delete from {leases_table} where lease = %(lease)s and holder = %(holder)s returning lease
