-- Promise: who has the lease now, which is taken for so long; no row where nobody has. A look costs nothing to be
-- written, as a try does.
select holder from {leases_table} where lease = %(lease)s and until >= clock_timestamp()
  and until <= clock_timestamp() + %(length)s + %(length)s
