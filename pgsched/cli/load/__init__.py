"""`pgsched schedule --from-file`: executions from a file, one JSON object a line, written in chunks.

Never holds more than a chunk of the file, never overwrites an execution, never ends half-done without saying so.
"""
