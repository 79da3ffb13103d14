"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from bench.server import Database

SETTINGS = ("shared_buffers", "max_wal_size", "synchronous_commit", "fsync", "server_version")


def machine(opened: Database) -> dict[str, str]:
    settings = {name: opened.sql(f"show {name}")[0][0] for name in SETTINGS}
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "psycopg": psycopg.__version__,
        **settings,
    }
