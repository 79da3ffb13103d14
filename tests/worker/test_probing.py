"""What was sampled of the whole table is told only while it is fresh."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from pgsched.worker import probing
from pgsched.worker.probing import Probing
from tests.waiting import wait_until
from tests.worker.test_recovery import plan

if TYPE_CHECKING:
    import pytest


def test_what_was_sampled_before_an_outage_is_told_for_three_samples_and_no_longer(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it could not tell it from what is so now. (Here all goes quicker.)"""
    assert probing.LEASE_LENGTH.total_seconds() <= 3 * probing.SAMPLE_S
    monkeypatch.setattr(probing, "LEASE_LENGTH", timedelta(seconds=1))
    monkeypatch.setattr(probing, "SAMPLE_S", 0.0)
    monkeypatch.setattr(probing, "PROBE_S", 0.0)
    looking = Probing(plan(database), "w")
    looking.turn()
    assert looking.sample is not None
    close(database)

    def is_forgotten() -> bool:
        looking.turn()
        return looking.sample is None

    wait_until(is_forgotten, describe="the sample to be too old")
    assert not looking.last.is_up


def close(database: str) -> None:
    """Nobody gets in any more, and whoever was is out."""
    with psycopg.connect(make_conninfo(database, dbname="postgres"), autocommit=True) as admin:
        name = str(conninfo_to_dict(database)["dbname"])
        admin.execute(SQL("alter database {} allow_connections false").format(Identifier(name)))
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )
