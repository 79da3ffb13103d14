-- Promise: these settings as our sessions have them, those that this server knows; times in the unit that it counts in.
select name, setting from pg_settings where name = any (%(names)s::text[])
