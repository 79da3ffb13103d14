"""`pgsched doctor` as users run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import make_conninfo

from pgsched.doctor.checkup import CHECKS, name_of, purpose_of
from pgsched.store.migrating import needed_version
from tests.doctor.patient import NAMES, TABLE, Patient
from tests.waiting import wait_until
from tests.worker.running import Worker

if TYPE_CHECKING:
    from collections.abc import Generator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "doctor.md"

TASKS = """
from pgsched import Every, one_time, recurring

@one_time("quick")
def quick() -> None: ...

@recurring("often", schedule=Every(seconds=1))
async def often() -> None: ...
"""


def doctor(patient: Patient, *arguments: str, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "pgsched", "doctor", *arguments],
        env={**patient.environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def config(tmp_path: Path, patient: Patient, role: str) -> Path:
    """Of a worker with the least rights."""
    (tmp_path / "tasks_of_the_doctor.py").write_text(TASKS)
    file = tmp_path / "pgsched.yaml"
    settings = {
        "database": {
            "dsn": make_conninfo(patient.conninfo, user=role),
            "table": NAMES.table,
            "schema": NAMES.schema,
        },
        "tasks": {"modules": ["tasks_of_the_doctor"]},
        "logging": {"format": "json"},
    }
    file.write_text(json.dumps(settings))
    return file


@pytest.fixture
def worker(config: Path, patient: Patient) -> Generator[Worker]:
    environment = {**patient.environment(), "DATABASE_URL": ""}
    worker = Worker(
        [sys.executable, "-m", "pgsched", "worker", "--config", str(config)], environment
    )
    worker.wait_ready()
    yield worker
    worker.stop()
    worker.kill_everything()


def test_a_database_with_a_running_worker_gives_nothing_under_load_too(
    patient: Patient, config: Path, worker: Worker
) -> None:
    """A false alarm is the worst that a doctor can give. One more worker is told of that is well."""
    patient.worker("one-more", tasks=["quick", "often"])
    for _ in range(2):
        patient.sql(
            f"insert into {TABLE} (task_name, task_instance)"
            " select 'quick', n::text from generate_series(1, 30000) as n on conflict do nothing"
        )
        answer = doctor(patient, "--config", str(config), "--json", DATABASE_URL="")
        document = json.loads(answer.stdout)
        assert document["findings"] == []
        assert [each for each in document["checks"] if each["unknown"]] == []
        assert (answer.returncode, answer.stderr) == (0, "")
    wait_until(
        lambda: patient.sql(f"select count(*) from {TABLE}") == [(1,)],
        describe="the queue to be empty",
    )


def test_a_healthy_database_is_told_in_one_line_a_check(patient: Patient) -> None:
    answer = doctor(patient)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.splitlines() == [
        f"ok        {name_of(check)}: {purpose_of(check)}" for check in CHECKS
    ]


def test_findings_come_worst_first_with_what_mends_them(patient: Patient) -> None:
    patient.worker(clock_offset="1 h")
    patient.sql('drop index "own schema"."idx_My ""Jobs""_held"')
    patient.sql(
        f"insert into {NAMES.quoted('failed_table')} (task_name, task_instance, execution_time,"
        " consecutive_failures, version, crashes, attempts, error) values ('\x1b[31mred', '1', now(), 1, 1, 0, 1, '')"
    )
    answer = doctor(patient)
    assert answer.returncode == 1
    told = re.findall(r"^(critical|warning|note|ok) +(.*)$", answer.stdout, re.MULTILINE)
    assert [severity for severity, _ in told[:4]] == ["critical", "warning", "note", "ok"]
    assert "\n            $ pgsched maintenance\n" in answer.stdout
    assert "\x1b" not in answer.stdout
    document = json.loads(doctor(patient, "--json").stdout)
    assert document["is_well"] is False
    assert [each["severity"] for each in document["findings"]] == ["critical", "warning", "note"]
    assert document["findings"][0]["fix"]["language"] == "shell"
    assert {each["check"] for each in document["checks"]} == {name_of(check) for check in CHECKS}


def test_what_mends_it_goes_to_the_database_that_was_looked_at(
    patient: Patient, config: Path
) -> None:
    """Without its --dsn it would go to that of the config."""
    patient.sql('drop index "own schema"."idx_My ""Jobs""_held"')
    words = ("--config", str(config), "--dsn", patient.conninfo)
    assert f"$ pgsched maintenance --config {config} --dsn DSN\n" in doctor(patient, *words).stdout


def test_notes_alone_leave_the_exit_status_at_0(patient: Patient) -> None:
    patient.worker(hears_notifications=False)
    answer = doctor(patient)
    assert answer.stdout.startswith("note ")
    assert answer.returncode == 0


def test_no_database_exits_75(patient: Patient) -> None:
    answer = doctor(patient, "--dsn", "host=/nowhere", "--json")
    assert (answer.returncode, answer.stdout) == (75, "")
    assert answer.stderr.count("\n") == 1


def test_no_tables_are_a_finding(patient: Patient) -> None:
    patient.sql('drop schema "own schema" cascade')
    answer = doctor(patient)
    assert answer.returncode == 1
    assert answer.stdout.startswith(f"critical  {needed_version()} migrations pending")
    assert "unknown   workers: " in answer.stdout


def test_task_modules_that_can_not_be_used_are_a_finding(patient: Patient, config: Path) -> None:
    """The database is looked at all the same."""
    (config.parent / "tasks_of_the_doctor.py").write_text("import no_such_module")
    answer = doctor(patient, "--config", str(config), DATABASE_URL="")
    assert answer.returncode == 1
    assert answer.stdout.startswith("critical  The task modules can't be used")
    assert "no_such_module" in answer.stdout
    assert "ok        indexes" in answer.stdout


def test_the_page_tells_of_each_check() -> None:
    """In the order in which they are made, in the words of the command."""
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [(name_of(check), purpose_of(check)) for check in CHECKS]
