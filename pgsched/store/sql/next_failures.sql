-- One failure more in a row.
least(execution.consecutive_failures, 2147483646) + 1
