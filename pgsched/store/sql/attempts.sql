-- All runs of an execution that has just failed or crashed for the last time.
least(execution.consecutive_failures::bigint + execution.crashes + 1, 2147483647)
