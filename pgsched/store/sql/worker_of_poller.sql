-- The worker whose poller has picked an execution (`worker/family.py` names pollers).
regexp_replace(picked_by, '/[^/]*$', '')
