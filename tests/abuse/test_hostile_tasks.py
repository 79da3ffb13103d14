"""Tasks that raise what nobody catches, end their process, fork into ours, close what isn't theirs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from pgsched import FailedExecution
from tests.waiting import wait_until
from tests.worker.running import Project, Worker, is_there

Start = Callable[..., Worker]

ERRORS = {
    "unspeakable": "Unspeakable: (its message can't be shown)",
    "foreign": "Foreign: neither Exception nor known",
    "huge": "ValueError: x x x",
    "unstorable": "ValueError: NUL ␀ surrogate ? escape \x1b[31m",
    "group": "ExceptionGroup: level 299 (1 sub-exception)",
    "chain": "ValueError: level 1999",
    "stop": "",
    "exit": "SystemExit: 0",
    "interrupt": "KeyboardInterrupt",
    "generator": "GeneratorExit",
    "cancelled": "CancelledError: by the user",
    "memory": "MemoryError: no more",
    "recursion": "RecursionError: too deep",
}


def failed(project: Project, count: int = 1) -> dict[tuple[str, str], FailedExecution]:
    """So many failed executions, as soon as they are there."""
    found = wait_until(
        lambda: each if len(each := project.client.list(state="failed")) >= count else None,
        describe=lambda: f"{count} to fail; there are {project.client.list()}",
    )
    return {
        (each.task_name, each.task_instance): each
        for each in found
        if isinstance(each, FailedExecution)
    }


def pid_of(project: Project, instance: str) -> int:
    return project.wait_entries("ran", instance)[0].pid


def test_whatever_a_run_raises_it_fails_and_its_poller_lives(
    project: Project, start: Start
) -> None:
    """`except Exception` around __str__ left the run, and all other async ones, picked for ever."""
    worker = start(concurrency=20)
    ways = ("raise", "raise-async", "raise-isolated")
    project.client.schedule_many([(way, kind, kind) for way in ways for kind in ERRORS])
    found = failed(project, len(ways) * len(ERRORS))
    for (_, kind), execution in found.items():
        assert execution.error.startswith(ERRORS[kind])
        assert len(execution.error) <= 2_000
        assert execution.traceback is not None
        assert len(execution.traceback) <= 16_000
    assert not worker.events("poller.died")
    assert not [line for line in worker.lines if not line.startswith("{")]


def test_an_exit_in_a_handler_counts_as_none_and_ends_no_thread(
    project: Project, start: Start
) -> None:
    """`except Exception` around the handler ended the thread, or the event loop: both runs stayed picked for ever."""
    worker = start(concurrency=1)
    project.client.schedule("exit-in-the-handler", "plain")
    project.client.schedule("exit-in-the-handler-async", "async")
    worker.wait_event("failure_handler.broken", count=2, error="SystemExit: 0")
    project.client.schedule("innocent", "plain-after")
    project.client.schedule("innocent-async", "async-after")
    assert pid_of(project, "plain-after") == pid_of(project, "async-after") == worker.pollers[0]


def test_what_ends_the_event_loop_ends_no_other_run(project: Project, start: Start) -> None:
    """Without the loop being run again, what came after was never run, and never let go."""
    worker = start(concurrency=2)
    project.client.schedule("exit-in-a-subtask", "exit")
    project.client.schedule("stop-the-loop", "stop")
    failed(project)
    project.client.schedule("innocent-async", "after")
    assert pid_of(project, "after") == worker.pollers[0]
    project.wait_gone("stop")


def test_a_run_cancelled_before_its_first_step_is_handed_back_and_runs(
    project: Project, start: Start
) -> None:
    """Without `hand_back_stillborn` nobody saw it end: its slot was lost and its heartbeat went on."""
    project.client.schedule("cancel-everybody", "first", priority=1)
    project.client.schedule_many([("innocent-async", f"i-{n}") for n in range(5)])
    worker = start()
    for number in range(5):
        project.wait_gone(f"i-{number}")
    worker.wait_event("execution.released")
    assert len(project.diary()) == 5


def test_an_exit_with_status_0_is_a_death_like_any_other(project: Project, start: Start) -> None:
    """Told by the exit status alone, the poller had ended in order: the run was repeated for ever, without a crash."""
    start(max_crashes=2)
    for task in ("exit-with", "exit-with-async", "exit-with-isolated"):
        for status in (0, 1):
            project.client.schedule(task, f"s-{status}", status)
    for (_, instance), execution in failed(project, 6).items():
        assert execution.error.endswith(f"by exit {instance[-1]}")
        assert execution.crashes == 2


def test_a_forked_child_that_comes_back_from_its_task_ends_there(
    project: Project, start: Start
) -> None:
    """Without `end_stray` it went on as a second poller, or answered in place of the run it came from."""
    forking = ("fork-and-return", "fork-and-return-async", "fork-and-return-isolated")
    tasks = (*forking, "fork-in-c-and-return")
    project.client.schedule_many([(task, task) for task in tasks])
    project.client.schedule_many([("innocent", f"i-{n}") for n in range(20)], priority=-1)
    worker = start(concurrency=1)
    children = [pid_of(project, f"child-of-{task}") for task in tasks]
    for task in tasks:
        project.wait_gone(task)
    assert project.diary(instance="parent-fork-and-return-isolated")
    wait_until(lambda: not any(map(is_there, children)), describe="the children to end")
    innocents = [f"i-{number}" for number in range(20)]
    for instance in innocents:
        assert [entry.pid for entry in project.wait_entries("ran", instance)] == worker.pollers


def test_a_child_left_behind_does_not_hide_the_death_of_its_run(
    project: Project, start: Start
) -> None:
    """It held the channel open, too: the poller would wait for as long as it lives."""
    start()
    project.client.schedule("leave-a-child-and-die", "a")
    [execution] = failed(project).values()
    assert execution.error.endswith("by exit 0")
    orphan = pid_of(project, "orphan")
    assert is_there(orphan)
    os.kill(orphan, signal.SIGKILL)


def test_a_run_that_closes_its_channel_is_over_before_it_runs_again(
    project: Project, start: Start
) -> None:
    """It can't say any more how it ended. Taken for one that was stopped, it was run again while it still ran."""
    start(max_crashes=2)
    project.client.schedule("close-isolated", "a", [3, 256])
    [execution] = failed(project).values()
    assert execution.error.endswith("by exit 0")
    told = [entry.instance for entry in project.diary()]
    assert told == ["start-a", "end-a", "start-a", "end-a"]


def test_a_task_that_closes_all_descriptors_is_found_out_and_costs_one_poller(
    project: Project, start: Start
) -> None:
    """It is over before its poller stumbles: judged by what was still running, nobody had done it, and after five
    such deaths the worker gave up."""
    worker = start()
    project.client.schedule("close", "all", [3, 256])
    [execution] = failed(project).values()
    assert execution.task_instance == "all"
    # By the text: a trace that the dying process had begun to print may stand before it in the same line.
    wait_until(lambda: '"poller.died"' in "".join(worker.lines), describe="its death to be told")
    assert "".join(worker.lines).count('"poller.died"') == 1


def test_a_poller_whose_standard_streams_were_closed_is_replaced(
    project: Project, start: Start
) -> None:
    worker = start()
    [first] = worker.pollers
    project.client.schedule("close", "streams", [0, 3])
    project.wait_gone("streams")
    wait_until(lambda: not is_there(first), describe="the poller to be replaced")
    assert not worker.events("poller.died")
    project.client.schedule("innocent", "after")
    assert pid_of(project, "after") != first


def test_what_a_task_leaves_behind_keeps_neither_the_worker_from_working_nor_from_ending(
    project: Project, start: Start
) -> None:
    """With `sys.stdout = None` a poller did not reach its `os._exit`, and went on in the code of its parent."""
    worker = start(shutdown_timeout="2s")
    tasks = ("leave-a-thread", "return-anything", "return-anything-isolated", "unsettle")
    project.client.schedule_many([(task, task) for task in tasks])
    for task in tasks:
        project.wait_gone(task)
    project.client.schedule("innocent", "after")
    pid_of(project, "after")
    assert worker.stop() == 0
    assert not worker.events("poller.killed")
