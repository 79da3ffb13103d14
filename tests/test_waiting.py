"""What tests wait with says how things are when it gives up, not how they were when it began."""

from __future__ import annotations

import pytest

from tests.waiting import wait_until


def test_what_is_told_of_a_wait_in_vain_is_asked_for_at_its_end() -> None:
    looks: list[int] = []

    def is_there() -> bool:
        looks.append(1)
        return False

    with pytest.raises(AssertionError, match=r"in vain for it, looked [1-9]"):
        wait_until(is_there, timeout=0.01, describe=lambda: f"it, looked {len(looks)}")
