"""Durations: text and timedelta, both ways."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.duration import LONGEST_DURATION, format_duration, parse_duration

lengths = st.timedeltas(min_value=timedelta(0), max_value=LONGEST_DURATION)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("1d", timedelta(days=1)),
        ("500ms", timedelta(milliseconds=500)),
        ("1w", timedelta(weeks=1)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("0.001ms", timedelta(microseconds=1)),
        (
            "1w2d3h4m5s6ms",
            timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5, milliseconds=6),
        ),
        ("0s", timedelta(0)),
        ("36525d", LONGEST_DURATION),
        ("007m", timedelta(minutes=7)),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "5",
            "1.5",
            "s",
            "ms",
            "-5m",
            "+5m",
            "5M",
            "5x",
            "5 m",
            " 5m",
            "5m ",
            "5m\n",
            "5\0m",
        ),
        *(
            "30m2h",
            "5m5m",
            "1h1h",
            "5ms5s",
            ".5s",
            "5.s",
            "1,5s",
            "1e3s",
            "0x10s",
            "nans",
            "infs",
            "1_000s",
        ),
        *("٣m", "５m", "5µs", "PT5M", "5 minutes", "1:30", "1..5s"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is no duration: .*; allowed: a duration such as 90s, 5m, 2h30m, 1d$"
    ):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["36525d1s", "36526d", "101w99999d", "9" * 90 + "w", "9" * 99 + "s"]
)
def test_a_length_of_more_than_a_hundred_years_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 100 years"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["9" * 10_000 + "s", "1h" * 10_000, "x" * 1_000_000, "1." + "0" * 10_000 + "s"]
)
def test_a_hostile_text_is_refused_at_once_in_one_short_line(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match="is no duration") as refusal:
        parse_duration(text)
    assert time.perf_counter() - began < 0.05
    assert len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [None, 5, 1.5, b"5m", ["5m"], timedelta(1)])
def test_what_is_not_text_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(value)  # type: ignore[arg-type]  # what a configuration file may hold


@given(length=lengths)
def test_what_is_written_is_read_back_exactly(length: timedelta) -> None:
    assert parse_duration(format_duration(length)) == length


@given(text=st.text(alphabet="0123456789.wdhms -+", max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        length = parse_duration(text)
    except ValueError:
        return
    assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=8), "8d"),
        (timedelta(hours=2, minutes=30), "2h30m"),
        (timedelta(seconds=1, milliseconds=500), "1s500ms"),
        (timedelta(microseconds=1), "0.001ms"),
        (LONGEST_DURATION, "36525d"),
    ],
)
def test_a_length_is_written_with_the_units_it_needs(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


@pytest.mark.parametrize(
    "length", [timedelta(microseconds=-1), timedelta.max, LONGEST_DURATION + timedelta.resolution]
)
def test_a_length_out_of_bounds_has_no_text(length: timedelta) -> None:
    with pytest.raises(ValueError, match="0 to 100 years"):
        format_duration(length)
