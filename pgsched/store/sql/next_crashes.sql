-- One crash more in a row.
least(execution.crashes, 2147483646) + 1
