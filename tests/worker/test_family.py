"""What a worker's supervisor waits for, where the machine has nothing to spare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.worker.family import Family
from tests.worker.test_recovery import plan

if TYPE_CHECKING:
    import pytest


def no_pipe() -> None:
    raise OSError(24, "Too many open files")


def test_without_a_pipe_for_the_housekeeper_nobody_is_waited_for_but_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pollers that are missing since the beginning made the wait zero: some 10,000 turns a second."""
    family = Family(plan("dbname=never-asked"), list)
    monkeypatch.setattr("pgsched.worker.family.new_pipe", no_pipe)
    for _ in range(3):
        family.housekeeper.restart_at = 0.0
        family.start_others()
    family.start_pollers()
    assert not family.has_pollers
    assert family.start_in_s > 0
    for slot in family.slots:
        for end in slot.runners._sockets:
            end.close()
