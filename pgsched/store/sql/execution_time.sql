-- A due time that Python can hold: other programs may write 'infinity', or a year beyond 9999.
least(greatest(execution_time, '0001-01-02 00:00:00Z'::timestamptz), '9999-12-30 00:00:00Z'::timestamptz)
  as execution_time
