"""The smallest task module. Name it in a config (`tasks: {modules: [hello]}`), start `pgsched dev`, and then

pgsched schedule greet ada --data '{"name": "Ada"}' --in 2s
"""

from datetime import timedelta

from pgsched import Every, ExecutionContext, FixedDelay, one_time, recurring


@one_time("greet", on_failure=FixedDelay(timedelta(seconds=1), max_retries=3))
def greet(data: dict[str, str], context: ExecutionContext) -> None:
    context.log.info("hello", name=data["name"], attempt=context.attempt)


@recurring("tick", schedule=Every(seconds=5))
async def tick() -> None:
    print("tick")
