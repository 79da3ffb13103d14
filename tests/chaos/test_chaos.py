"""Short runs of `make chaos`, side by side: as it is, and with a guard taken out, which the checker must notice."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping


class Short(NamedTuple):
    """One run: what it is asked for, and with which words the checker must complain of it."""

    arguments: str
    complaint: str = ""


RUNS = {
    "as it is": Short("--seed 11 --duration 15"),
    # A poller stands still until others run what it ran, and then ends its own runs before those have ended theirs.
    "no fence": Short(
        "--workers 2 --seed 14 --duration 20 --kinds STOP_POLLER --sabotage fence",
        r"the rightful run was refused: ",
    ),
    "no grace": Short(
        "--workers 2 --seed 35 --duration 20 --kinds SERVER_FAST,SERVER_KILL --sabotage grace",
        r"doubled: ",
    ),
    "no beats": Short(
        "--workers 2 --seed 2 --duration 8 --kinds KILL_POLLER --sabotage beat", r"overlap: "
    ),
}


MOST_RUNS = 3
"""Whether a late result comes while the other still runs is chance, though three pollers that stand still are many."""


def begun(run: Short) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chaos", *run.arguments.split()],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def runs() -> Generator[Mapping[str, subprocess.Popen[str]]]:
    """All at once: they mostly wait."""
    started = {name: begun(run) for name, run in RUNS.items()}
    yield started
    for process in started.values():
        process.terminate()
        process.communicate()


def test_no_promise_is_broken(runs: Mapping[str, subprocess.Popen[str]]) -> None:
    output, _ = runs["as it is"].communicate(timeout=180)
    assert runs["as it is"].returncode == 0, output
    assert re.search(r"promises broken +0\n", output)
    ran = re.search(r"runs +(\d+),", output)
    assert ran is not None
    assert int(ran[1]) > 500


@pytest.mark.parametrize("name", [name for name in RUNS if RUNS[name].complaint])
def test_without_a_guard_the_checker_fails(
    name: str, runs: Mapping[str, subprocess.Popen[str]]
) -> None:
    outputs = [told(runs[name])]
    while len(outputs) < MOST_RUNS and not re.search(RUNS[name].complaint, outputs[-1]):
        outputs.append(told(begun(RUNS[name])))
    assert re.search(RUNS[name].complaint, outputs[-1]), "\n".join(outputs)
    assert "PROMISES WERE BROKEN" in outputs[-1]


def told(run: subprocess.Popen[str]) -> str:
    """All that it says, when it is over."""
    output, _ = run.communicate(timeout=180)
    assert (run.returncode == 0) is ("every promise was kept" in output), output
    return output
