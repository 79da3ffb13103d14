-- Promise: the lease is this holder's for so long from now, if it is free, has run out, or was its own; answers the
-- holder, or nothing where somebody else has it. One that lasts more than twice as long was taken by a clock that was
-- ahead: nobody has it.
-- Fence: whoever waits for the row's lock judges the row as it is then.
insert into {leases_table} as held (lease, holder, until)
values (%(lease)s, %(holder)s, clock_timestamp() + %(length)s)
on conflict (lease) do update set holder = excluded.holder, until = excluded.until
where held.holder = excluded.holder or held.until < clock_timestamp()
  or held.until > clock_timestamp() + %(length)s + %(length)s
returning holder
