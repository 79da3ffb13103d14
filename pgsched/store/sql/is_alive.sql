-- Whether a worker has been seen lately: two of its signs may be lost.
seen_at > now() - 3 * seen_every
