"""A worker whose database is away is alive and not ready, says why, and answers in time whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
import pytest

from chaos.proxy import Mode, Proxy
from tests.waiting import wait_until
from tests.worker.running import Project, Worker
from tests.worker.scraping import ask, scrape

if TYPE_CHECKING:
    from chaos.server import Server

Start = Callable[..., Worker]

LONGEST_ANSWER_S = 2.0


@pytest.fixture
def worker(project: Project, start: Start) -> Worker:
    project.monitoring = {"port": 0}
    worker = start()
    wait_ready(worker, is_ready=True)
    return worker


def wait_ready(worker: Worker, *, is_ready: bool) -> set[str]:
    """The checks that are not ok, once it is ready or no longer so. Each answer comes at once."""

    def wrong() -> list[set[str]]:
        began = time.monotonic()
        answer = ask(worker, "/readyz")
        assert time.monotonic() - began < LONGEST_ANSWER_S
        assert answer.status == (503 if answer.wrong else 200)
        assert ask(worker, "/livez").status == 200
        return [answer.wrong] if (answer.status == 200) is is_ready else []

    [found] = wait_until(wrong, describe=f"ready to become {is_ready}")
    return found


@pytest.mark.parametrize("how", [Mode.REFUSE, Mode.SWALLOW])
def test_an_outage_is_told_and_so_is_its_end(worker: Worker, proxy: Proxy, how: Mode) -> None:
    proxy.set(how)
    if how is Mode.REFUSE:
        proxy.cut()
    assert "database" in wait_ready(worker, is_ready=False)
    detail = ask(worker, "/readyz").document["checks"]["database"]["detail"]
    assert "not available" not in detail, "that it is the database which isn't is the check's name"
    assert not detail.startswith("connection failed"), "psycopg's, before libpq says that it has"
    found = scrape(worker)
    assert found("pgsched_database_up") == 0
    assert found("pgsched_pollers") == 2
    proxy.set(Mode.FORWARD)
    proxy.cut()
    wait_ready(worker, is_ready=True)
    assert scrape(worker)("pgsched_database_up") == 1


def test_a_server_that_takes_no_writes_is_not_ready(
    worker: Worker, project: Project, own_server: Server
) -> None:
    with psycopg.connect(own_server.conninfo, autocommit=True) as connection:
        connection.execute("alter database faults set default_transaction_read_only = on")
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '/reporter$'"
        )
    assert wait_ready(worker, is_ready=False) == {"database", "schema"}


def test_a_schema_that_is_gone_is_not_the_right_one(worker: Worker, project: Project) -> None:
    project.sql("delete from scheduled_tasks_migrations where version > 3")
    assert wait_ready(worker, is_ready=False) == {"schema"}
