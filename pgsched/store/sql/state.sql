-- What a user sees of a row: derived, in this one place.
case
  when picked then 'running'
  when execution_time <= now() then 'due'
  when consecutive_failures > 0 then 'retrying'
  else 'scheduled'
end
