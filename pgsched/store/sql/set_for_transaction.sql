-- Promise: these settings hold until the end of this transaction, whose next ones may be somebody else's.
select set_config(name, value, true) from unnest(%(names)s::text[], %(values)s::text[]) as setting (name, value)
