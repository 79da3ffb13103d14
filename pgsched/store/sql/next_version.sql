-- The fencing token after this change. Like the counts below it stops where its type ends: others may write any number
-- into a row, and one that can't be counted on must not stop the statement that it is part of.
least(execution.version, 9223372036854775806) + 1
