-- Promise: how long the server has been up.
select now() - pg_postmaster_start_time()
