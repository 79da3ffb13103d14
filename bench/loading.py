"""`pgsched schedule --from-file`: how fast millions of rows come in, and that memory stays flat."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure

if TYPE_CHECKING:
    from bench.server import Database


def loading(database: Database, rows: int) -> list[Figure]:
    """One load of a file of so many rows into an empty table."""
    database.empty()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "jobs.jsonl")
        with file.open("w") as writing:
            for number in range(rows):
                row = {"task": "large", "instance": str(number), "data": {"n": number}, "in": "1d"}
                writing.write(json.dumps(row) + "\n")
        command = [sys.executable, "-m", "pgsched", "schedule", "--from-file", str(file)]
        started = time.monotonic()
        subprocess.run(command, check=True, env={**os.environ, "DATABASE_URL": database.conninfo})
        took_s = time.monotonic() - started
    assert database.sql("select count(*) from scheduled_tasks") == [(rows,)]
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return [
        Figure(f"{rows:,} rows from a file", "/s", [rows / took_s]),
        Figure("the most memory that a child has held", "MB", [peak_mb]),
    ]
