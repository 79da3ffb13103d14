-- A time that Python can hold: other programs may write 'infinity', or a year beyond 9999, and a row that can't be
-- read must not stop the pick it came with. (`least` and `greatest` pass over null, hence the case.)
case when {column} is not null then
  least(greatest({column}, '0001-01-02 00:00:00Z'::timestamptz), '9999-12-30 00:00:00Z'::timestamptz)
end
