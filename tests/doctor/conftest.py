"""A server of the tests' own, as in production but for its settings that can be full or used up soon."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgsched.embedded import embedded_server
from pgsched.embedded.binaries import find_binaries
from pgsched.store.migrating import migrate
from tests.doctor.patient import NAMES, Patient
from tests.postgres import new_database

if TYPE_CHECKING:
    from collections.abc import Generator

SETTINGS = {"max_prepared_transactions": "5", "max_connections": "50"}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where fsync takes no time."""

SINCE_17 = {"max_notify_queue_pages": "64"}


@pytest.fixture(scope="session")
def real_server() -> Generator[str]:
    """With fsync on, unlike that of the other tests."""
    settings = {**SETTINGS, **(SINCE_17 if int(find_binaries().major) >= 17 else {})}
    with (
        tempfile.TemporaryDirectory(
            prefix="pgsched-test-", dir=MEMORY, ignore_cleanup_errors=True
        ) as folder,
        embedded_server(f"embedded:{folder}/postgres", settings=settings) as conninfo,
    ):
        yield conninfo


@pytest.fixture(scope="session")
def well(real_server: str) -> Generator[str]:
    """The name of a database with the table, that others are copied from."""
    with new_database(real_server) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            migrate(connection, table=NAMES.table, schema=NAMES.schema)
        yield str(conninfo_to_dict(conninfo)["dbname"])


@pytest.fixture
def patient(real_server: str, well: str) -> Generator[Patient]:
    with new_database(real_server, template=well) as conninfo:
        patient = Patient(conninfo)
        yield patient
        patient.sql("alter system reset all", "select pg_reload_conf()")


@pytest.fixture
def role(patient: Patient) -> Generator[str]:
    """The name of somebody who has the least rights that a worker needs, and may see what others do."""
    name = 'a "Worker"'
    quoted = '"a ""Worker"""'
    rights = f'grant select, insert, update, delete on all tables in schema "{NAMES.schema}"'
    patient.sql(
        f"create role {quoted} login",
        f"grant pg_read_all_stats to {quoted}",
        f'grant usage on schema "{NAMES.schema}" to {quoted}',
        f"{rights} to {quoted}",
    )
    yield name
    writable = "set default_transaction_read_only = off"
    patient.sql(writable, f"drop owned by {quoted} cascade", f"drop role {quoted}")
