"""What a worker tells over HTTP about itself, asked and read as Prometheus and a kubelet do."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from pgsched.worker.metrics import METRICS, Kind
from pgsched.worker.page import MOST_AT_A_TIME
from tests.waiting import wait_until
from tests.worker.running import Project, Worker
from tests.worker.scraping import ask, port_of, scrape, wait_value

Start = Callable[..., Worker]


@pytest.fixture
def project(project: Project) -> Project:
    project.monitoring = {"port": 0}
    return project


def poller_of(project: Project, instance: str) -> int:
    return project.wait_entries("started", instance)[0].pid


def test_what_is_counted_is_what_ran(project: Project, start: Start) -> None:
    """In several pollers, by all that can become of a run; and each metric that the reference names is there."""
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance)"
        " select 'nobody-knows-it', n::text from generate_series(1, 2) as n"
    )
    project.sql(
        "insert into scheduled_tasks (task_name, task_instance, last_success) values ('tick', 'default', now())"
    )
    project.sql("create table effects (name text)")
    worker = start()
    project.client.schedule_many([("run", f"r-{n}") for n in range(300)])
    project.client.schedule_many([("run-async", f"a-{n}") for n in range(40)])
    project.client.schedule("fail-twice", "f")
    project.client.schedule("exit", "e")
    project.client.schedule("exactly-once", "committed", "")
    project.client.schedule("isolated-sleep", "isolated", 0.1)
    project.client.schedule("sleep", "s", 0.3)
    outcomes = {("run", "succeeded"): 301, ("run-async", "succeeded"): 40}
    outcomes |= {("fail-twice", "failed"): 2, ("fail-twice", "succeeded"): 1}
    outcomes |= {("exit", "given_up"): 1, ("sleep", "succeeded"): 1}
    outcomes |= {("exactly-once", "succeeded"): 1, ("isolated-sleep", "succeeded"): 1}
    for (task, outcome), count in outcomes.items():
        wait_value(worker, count, "pgsched_executions_total", task=task, outcome=outcome)
    found = wait_value(worker, 2, "pgsched_queue_executions", state="unknown")
    for task in {task for task, _ in outcomes}:
        ran = found("pgsched_executions_total", task=task)
        assert ran == sum(count for (name, _), count in outcomes.items() if name == task)
        for metric in ("duration", "lateness"):
            name = f"pgsched_execution_{metric}_seconds"
            assert found(f"{name}_count", task=task) == ran
            buckets = found.all(f"{name}_bucket", task=task)
            assert all(one <= other for one, other in pairwise(buckets))
            assert buckets[-1] == ran
    slept = "pgsched_execution_duration_seconds"
    assert 0.3 <= found(f"{slept}_sum", task="sleep") < 5
    assert found(f"{slept}_bucket", task="sleep", le="0.25") == 0
    assert found("pgsched_write_batch_size_sum") >= 345
    assert found("pgsched_pick_batch_size_sum") >= 345
    picks = found("pgsched_picks_total") - found("pgsched_picks_total", result="empty")
    assert found("pgsched_pick_batch_size_count") == picks
    assert found("pgsched_slots") == 20
    assert found("pgsched_recurring_last_success_timestamp_seconds", task="tick") > 1e9
    known = {sample.name for sample in found.samples}
    for each in METRICS:
        assert (f"{each.name}_count" if each.kind is Kind.HISTOGRAM else each.name) in known


def test_a_stale_result_is_counted_as_one(project: Project, start: Start) -> None:
    worker = start(heartbeat_timeout="1s", heartbeat_interval="200ms")
    project.client.schedule("sleep", "zombie", 1)
    frozen = poller_of(project, "zombie")
    os.kill(frozen, signal.SIGSTOP)
    project.wait_entries("started", "zombie", count=2)
    os.kill(frozen, signal.SIGCONT)
    wait_value(worker, 1, "pgsched_stale_completions_total", task="sleep")
    found = wait_value(worker, 1, "pgsched_executions_total", task="sleep", outcome="succeeded")
    assert found("pgsched_executions_total", task="sleep") == 1
    assert found("pgsched_recoveries_total", reason="heartbeat") >= 1  # what recurs may be dead too
    assert found("pgsched_poller_restarts_total") == 0


def test_counters_outlive_a_killed_poller(project: Project, start: Start) -> None:
    """Without a tally that belongs to the slot they begin anew with each process."""
    worker = start(processes=1)
    project.client.schedule_many([("run", f"r-{n}") for n in range(50)])
    wait_value(worker, 50, "pgsched_executions_total", task="run", outcome="succeeded")
    project.client.schedule("sleep", "s", 0.5)
    os.kill(poller_of(project, "s"), signal.SIGKILL)
    found = wait_value(worker, 1, "pgsched_executions_total", task="sleep", outcome="succeeded")
    assert found("pgsched_executions_total", task="run") == 50
    assert found("pgsched_poller_restarts_total", reason="died") == 1
    assert found("pgsched_recoveries_total", reason="poller_died") == 1
    assert found("pgsched_recoveries_total") == found("pgsched_poller_restarts_total") == 1
    assert found("pgsched_pollers") == 1


def test_a_poller_that_makes_room_is_told_from_one_that_dies(
    project: Project, start: Start
) -> None:
    worker = start(processes=1, max_executions_per_process=10)
    project.client.schedule_many([("run", f"r-{n}") for n in range(12)])
    wait_value(worker, 12, "pgsched_executions_total", task="run", outcome="succeeded")
    wait_until(
        lambda: scrape(worker)("pgsched_poller_restarts_total", reason="recycled"),
        describe="a restart",
    )
    assert scrape(worker)("pgsched_poller_restarts_total", reason="died") == 0


def test_a_worker_that_drains_is_alive_but_not_ready(project: Project, start: Start) -> None:
    worker = start()
    wait_until(lambda: ask(worker, "/readyz").status == 200, describe="it to be ready")
    project.client.schedule("sleep", "s", 2)
    project.wait_entries("started", "s")
    wait_value(worker, 1, "pgsched_slots_busy")
    worker.signal(signal.SIGTERM)
    worker.wait_event("worker.stopping")
    answer = wait_until(
        lambda: found if (found := ask(worker, "/readyz")).status == 503 else None,
        describe="it to be no longer ready",
    )
    assert "draining" in answer.wrong
    assert not answer.wrong & {"database", "schema"}
    assert ask(worker, "/livez").status == 200
    assert scrape(worker)("pgsched_draining") == 1
    assert worker.wait_exit() == 0
    with pytest.raises(OSError, match="refused"):
        ask(worker, "/livez")


def test_a_worker_whose_only_poller_makes_room_is_not_ready(project: Project, start: Start) -> None:
    """It takes nothing on until what it runs has ended: it was called ready for all that time."""
    worker = start(processes=1, max_executions_per_process=2)
    project.begin("sleep", "long", 4)  # what recurs makes it two
    wait_until(lambda: ask(worker, "/readyz").wrong == {"pollers"}, describe="it not to be ready")
    assert project.row("long"), "until then its poller is the one that is connected"
    project.wait_gone("long")
    wait_until(lambda: ask(worker, "/readyz").status == 200, describe="the next one to pick")


def test_a_killed_reporter_comes_back_and_has_forgotten_nothing(
    project: Project, start: Start
) -> None:
    worker = start()
    project.client.schedule_many([("run", f"r-{n}") for n in range(50)])
    wait_value(worker, 50, "pgsched_executions_total", task="run", outcome="succeeded")
    [first] = worker.wait_event("reporter.started")
    os.kill(first["pid"], signal.SIGKILL)
    worker.wait_event("reporter.died")
    worker.wait_event("reporter.started", count=2)
    assert scrape(worker)("pgsched_executions_total", task="run") == 50
    assert worker.stop() == 0


def test_who_asks_wrongly_is_told_so(project: Project, start: Start) -> None:
    project.monitoring = {"port": 0, "token": "s3cret"}
    worker = start()
    assert ask(worker, "/metrics").status == 401
    for wrong in ("Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret", "Bearer \xe9"):
        assert ask(worker, "/metrics", Authorization=wrong).status == 401, wrong
    right = {"Authorization": "Bearer s3cret", "Accept": "application/openmetrics-text"}
    answer = ask(worker, "/metrics", **right)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert list(openmetrics_families(answer.body))  # type: ignore[no-untyped-call]  # it has no types
    assert ask(worker, "/livez").status == 200
    assert ask(worker, "/livez", method="HEAD").body == ""
    assert ask(worker, "/livez?a=b").status == 200
    assert ask(worker, "/").status == ask(worker, "/metrics/").status == 404
    for method in ("POST", "PUT", "OPTIONS"):
        answer = ask(worker, "/metrics", method=method)
        assert (answer.status, answer.body) == (405, "method not allowed\n")
        assert answer.headers["Allow"] == "GET, HEAD"
        assert answer.headers["Content-Type"] == "text/plain"
    assert "s3cret" not in "".join(worker.lines)


def test_a_stranger_at_the_port_keeps_nobody_waiting(project: Project, start: Start) -> None:
    """Without the bound on requests at a time each would hold a thread; without their time limit all for ever."""
    worker = start(processes=1)
    for sent in (b"GET /livez HTTP/1.1\r\nA: " + b"a" * 9000, b"\0" * 64 + b"\r\n\r\n"):
        with closing(socket.create_connection(("127.0.0.1", port_of(worker)), 5)) as stranger:
            stranger.sendall(sent)
            assert b"200" not in stranger.recv(100)
    silent = [socket.create_connection(("127.0.0.1", port_of(worker)), 5) for _ in range(40)]
    wait_until(
        lambda: [is_closed(each) for each in silent].count(True) >= 24,
        describe="those that are too many to be hung up on",
    )
    wait_until(lambda: all(map(is_closed, silent)), describe="all to be hung up on")
    assert ask(worker, "/livez").status == 200
    for stranger in silent:
        stranger.close()


def test_strangers_in_all_places_keep_no_probe_from_its_answer(
    project: Project, start: Start
) -> None:
    """It was hung up on, as the newest one: whoever reached the port could have a kubelet end the worker."""
    worker = start(processes=1)
    port = port_of(worker)
    for _ in range(10):
        silent = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(MOST_AT_A_TIME)]
        assert ask(worker, "/livez").status == 200
        for stranger in silent:
            stranger.close()


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_port_that_is_taken_is_told_and_tried_again(project: Project, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project.monitoring = {"port": port}
        worker = start()
        [event] = worker.wait_event("monitoring_port.refused", port=port)
        assert event["level"] == "error"
        project.client.schedule("run", "meanwhile")
        project.wait_gone("meanwhile")
    worker.wait_event("reporter.started", port=port)
    assert ask(worker, "/livez").status == 200
    assert len(worker.events("monitoring_port.refused")) == 1


def test_only_one_worker_samples_and_another_takes_over(project: Project, start: Start) -> None:
    name = "pgsched_queue_executions"
    first = start(processes=1)
    wait_value(first, 0, name, state="failed")
    second = start(processes=1)
    wait_until(lambda: scrape(second)("pgsched_database_up") == 1, describe="it to have looked")
    assert scrape(second).all(name) == []
    first.kill_everything()
    project.sql("update scheduled_tasks_leases set until = now()")  # as time would do
    wait_value(second, 0, name, state="failed")
    [(holder,)] = project.sql("select holder from scheduled_tasks_leases")
    third = start(processes=1)
    assert second.stop() == 0
    wait_value(third, 0, name, state="failed")
    assert [(holder,)] != project.sql("select holder from scheduled_tasks_leases")


def test_without_a_port_there_is_no_reporter(project: Project, start: Start) -> None:
    project.monitoring = {}
    worker = start(processes=1)
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
    assert len(children.split()) == 2


def test_what_ends_with_its_process_is_counted_by_who_writes_it(
    project: Project, start: Start
) -> None:
    """Runs that only their poller's end stops, and the one that kills it until it is buried."""
    worker = start(processes=1, max_crashes=1, shutdown_timeout="200ms")
    project.client.schedule("endless", "e")
    found = wait_value(worker, 1, "pgsched_executions_total", task="endless", outcome="failed")
    assert found("pgsched_poller_restarts_total", reason="recycled") == 1
    project.sql("delete from scheduled_tasks where task_name = 'endless' and not picked")
    project.client.schedule("kill-own-process", "k")
    found = wait_value(
        worker, 1, "pgsched_executions_total", task="kill-own-process", outcome="given_up"
    )
    assert found("pgsched_executions_total", task="kill-own-process") == 1
    assert found("pgsched_poller_restarts_total", reason="died") == 1
