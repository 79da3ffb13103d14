"""What pollers leave to be written reaches the housekeeper, and no more than that."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime

import pytest

from pgsched.domain.completion import Release
from pgsched.domain.execution import Held
from pgsched.worker.wills import LENGTH, Last, Wills

HELD = Held("task", "instance", None, datetime(2026, 1, 1, tzinfo=UTC), 1, None, 0, 0, None, None)
LAST = Last(Release(HELD), None)


def test_a_will_is_found_until_it_has_been_carried_out() -> None:
    wills = Wills()
    wills.leave("a", [LAST])
    assert wills.of("a") == wills.of("a") == [LAST]
    assert wills.of("b") == []
    wills.forget("a")
    assert wills.of("a") == []


@pytest.mark.parametrize("cut", [4, 16, 20, 30])
def test_a_will_that_was_cut_off_costs_no_other(cut: int) -> None:
    """Read on by its length, the rest made no sense: every housekeeper that came after died of it."""
    wills = Wills()
    os.write(wills._file, (wills._mark + LENGTH.pack(100) + b"half of it")[:cut])
    wills.leave("b", [LAST])
    assert wills.of("a") == []
    assert wills.of("b") == [LAST]


def test_no_folder_has_to_be_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    wills = Wills()
    wills.leave("a", [LAST])
    assert wills.of("a") == [LAST]
