-- Where a trace goes on: what the scheduling call was part of (W3C traceparent), for those who trace.
-- Works with: 6
alter table {table} add column if not exists trace_context text;
