-- Promise: the one clock.
select now()
