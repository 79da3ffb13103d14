from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Answer


def test_the_coming_times_are_one_document(usage: Callable[..., Answer]) -> None:
    answer = usage("next", "0 9 * * MON-FRI", "--timezone", "Europe/Rome", "--count", "3", "--json")
    assert (answer.status, answer.err) == (0, "")
    assert {**answer.json, "times": None} == {
        "schedule": "0 9 * * MON-FRI",
        "timezone": "Europe/Rome",
        "times": None,
    }
    times = [datetime.fromisoformat(text) for text in answer.json["times"]]
    assert len(times) == 3
    assert times == sorted(times)
    assert all(text.endswith("Z") for text in answer.json["times"])
    assert {time.hour for time in times} <= {7, 8}
    assert {time.weekday() for time in times} <= {0, 1, 2, 3, 4}


def test_five_times_are_shown_from_now(usage: Callable[..., Answer]) -> None:
    answer = usage("next", "every 1h30m")
    header, *rows = answer.out.splitlines()
    assert header.split() == ["time", "relative"]
    assert len(rows) == 5
    first = datetime.fromisoformat(rows[0].split()[0])
    assert timedelta(minutes=89) < first - datetime.now(UTC) <= timedelta(minutes=90)
    assert rows[4].endswith("in 7h30m") or rows[4].endswith("in 7h29m")


def test_a_zone_of_its_own_is_shown_beside_utc(usage: Callable[..., Answer]) -> None:
    answer = usage("next", "daily 09:00", "--timezone", "Asia/Kolkata", "--count", "1")
    header, row = answer.out.splitlines()
    assert header.split() == ["time", "Asia/Kolkata", "relative"]
    assert "T03:30:00Z" in row
    assert "09:00:00 +0530" in row


def test_a_broken_configuration_does_not_matter(
    usage: Callable[..., Answer],
) -> None:
    assert usage("--config", "none.yaml", "next", "@daily").status == 0
