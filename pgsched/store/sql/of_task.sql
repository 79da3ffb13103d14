task_name = %(task_name)s::text
