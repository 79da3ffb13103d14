"""A migrated database, and sessions that act on it as programs and pollers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.store.acting import Store

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def store(database: str) -> Generator[Store]:
    """The store as one program uses it."""
    with Store(database) as opened:
        yield opened
