"""A database that faults are made in, with names that must be quoted, and the doctor who looks at it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo

from pgsched.doctor.checkup import check_up
from pgsched.doctor.known import Configured
from pgsched.store.connecting import connection
from pgsched.store.statement import Names

if TYPE_CHECKING:
    from collections.abc import Generator

    from pgsched.doctor.checkup import Report
    from pgsched.doctor.finding import Finding, Severity

NAMES = Names('My "Jobs"', "own schema")
TABLE = NAMES.quoted("table")
WORKERS = NAMES.quoted("workers_table")

DIRECT = Configured()


class Patient:
    """Lives in a database of its own on a server whose settings may be changed."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """One after the other in one session, each committed by itself; answers the rows of the last."""
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                cursor = session.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
            return rows

    @contextmanager
    def open_transaction(self, *statements: str) -> Generator[psycopg.Connection[Any]]:
        with psycopg.connect(self.conninfo, application_name="a report") as session:
            for statement in statements:
                session.execute(statement.encode())
            yield session
            session.close()

    def report(
        self,
        configured: Configured = DIRECT,
        *,
        user: str | None = None,
        conninfo: str | None = None,
        clock_offset: timedelta = timedelta(0),
    ) -> Report:
        target = conninfo or self.conninfo
        with connection(target if user is None else make_conninfo(target, user=user)) as opened:
            return check_up(opened, NAMES, configured, lambda: datetime.now(UTC) + clock_offset)

    def found(self, *known: Any, **how: Any) -> list[tuple[str, Severity]]:
        """What is found, the worst first."""
        return [(check, finding.severity) for check, finding in self.report(*known, **how).findings]

    def finding(self, check: str, *known: Any, **how: Any) -> Finding:
        """The one thing that is found, by this check: a fault is told once, and no other is made up."""
        report = self.report(*known, **how)
        assert [name for name, _ in report.findings] == [check], report.findings
        json.dumps(dict(report.findings[0][1].facts))
        return report.findings[0][1]

    def mend(self, finding: Finding) -> None:
        """Do what it says, as a superuser or in a shell."""
        assert finding.fix is not None
        match finding.fix.language:
            case "sql":
                self.sql(*finding.fix.lines)
            case "shell":
                for line in finding.fix.lines:
                    self._shell(line)

    def worker(self, name: str = "host-1", **facts: object) -> None:
        """The row of a worker as it writes it, but for these facts."""
        row = {
            "worker": name,
            "host": "host",
            "pid": 1,
            "version": "0.1.0",
            "started_at": "2026-01-01T00:00:00Z",
            "seen_at": datetime.now(UTC),
            "seen_every": "30 s",
            "state": "running",
            "pollers": 2,
            "slots": 20,
            "busy": 0,
            "clock_offset": "0 s",
            "hears_notifications": True,
            "tasks": ["known"],
            **facts,
        }
        columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            session.execute(
                f"insert into {WORKERS} ({columns}) values ({values})".encode(), [*row.values()]
            )

    def execution(self, task: str, instance: str = "1", **columns: object) -> None:
        row = {"task_name": task, "task_instance": instance, **columns}
        listed, values = ", ".join(row), ", ".join(["%s"] * len(row))
        with psycopg.connect(self.conninfo, autocommit=True) as session:
            session.execute(
                f"insert into {TABLE} ({listed}) values ({values})".encode(), [*row.values()]
            )

    def environment(self) -> dict[str, str]:
        ours = {
            "DATABASE_URL": self.conninfo,
            "PGSCHED_DATABASE__TABLE": NAMES.table,
            "PGSCHED_DATABASE__SCHEMA": str(NAMES.schema),
        }
        return {**os.environ, **ours}

    def _shell(self, line: str) -> None:
        program, *arguments = line.split()
        assert program == "pgsched"
        command = [sys.executable, "-m", program, *arguments]
        subprocess.run(command, env=self.environment(), check=True, capture_output=True)
