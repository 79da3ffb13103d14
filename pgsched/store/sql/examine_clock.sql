-- Promise: the database's time as it goes on within a transaction.
select clock_timestamp()
