"""`make bench`: what pgsched costs, each figure beside its limit of the same run. Writes a table and a JSON file.

Figures of different machines or hours do not compare; the shares in one table do.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.capacity import capacity
from bench.drain import one_time, recurring
from bench.figures import Figure, as_json, table
from bench.growth import growth
from bench.idle import heartbeats, idle, memory
from bench.large import large
from bench.lateness import lateness
from bench.loading import loading
from bench.machine import machine
from bench.partitions import partitions
from bench.scheduling import scheduling
from bench.server import Database, database
from bench.statements import statements

if TYPE_CHECKING:
    from collections.abc import Callable

RESULTS = Path(".bench/results")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios by name, with commas")
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the crowds and the large table"
    )
    arguments = parser.parse_args()
    with database() as opened:
        _run(opened, arguments)


def _run(opened: Database, arguments: argparse.Namespace) -> None:
    n, rounds, scale = arguments.executions, arguments.rounds, arguments.scale
    scenarios: dict[str, tuple[str, Callable[[], list[Figure]]]] = {
        "drain": (f"Drain of {n:,} no-ops, two pollers", partial(one_time, opened, n, rounds)),
        "recurring": (f"{n:,} recurring no-ops", partial(recurring, opened, n, rounds)),
        "growth": (
            f"What must not grow: drain of {n:,}",
            partial(growth, opened, n, rounds, scale=scale),
        ),
        "lateness": ("Lateness", partial(lateness, opened, 200)),
        "scheduling": ("Scheduling", partial(scheduling, opened, rounds)),
        "idle": ("Idle, and footprint", partial(idle, opened, 60.0)),
        "memory": ("Memory", partial(memory, opened, int(1_000_000 * scale))),
        "heartbeats": ("Heartbeats", partial(heartbeats, opened)),
        "capacity": ("What an execution costs the server", partial(capacity, opened, n)),
        "partitions": ("Hash partitions", partial(partitions, opened, n, rounds)),
        "statements": ("Inside Postgres", partial(statements, n)),
        "loading": ("A file", partial(loading, opened, int(10_000_000 * scale))),
        "large": ("A large table", partial(large, opened, int(10_000_000 * scale))),
    }
    wanted = arguments.only.split(",") if arguments.only else list(scenarios)
    if unknown := set(wanted) - set(scenarios):
        raise SystemExit(f"no scenario {', '.join(unknown)}; allowed: {', '.join(scenarios)}")
    facts = machine(opened)
    print(", ".join(f"{name} {value}" for name, value in facts.items()), end="\n\n")
    results = {}
    for name in wanted:
        title, measure = scenarios[name]
        figures = measure()
        results[name] = as_json(figures)
        print(table(title, figures), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    file.write_text(json.dumps({"machine": facts, "results": results}, indent=2))
    print(f"written to {file}")


if __name__ == "__main__":
    main()
