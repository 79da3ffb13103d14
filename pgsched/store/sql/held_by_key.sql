execution.task_name = held.task_name and execution.task_instance = held.task_instance
