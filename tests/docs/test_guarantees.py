"""The tests that docs/guarantees.md names exist, and it names the invariants and guards that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.exhaustive.exploring import INVARIANTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[\w/.]+(?:::\w+)?)`", PAGE))))
def test_what_shows_a_promise_is_there(named: str) -> None:
    path, _, test = named.partition("::")
    assert (ROOT / path).exists(), path
    if test:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.MULTILINE), named


def test_each_invariant_is_told() -> None:
    told = set(re.findall(r"^- \*\*(\w+)\*\*", PAGE, re.MULTILINE))
    assert told == {invariant.__name__ for invariant in INVARIANTS} | {"it_ends"}
