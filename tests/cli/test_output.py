from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

import pytest
from rich.console import Console
from rich.screen import Screen

from pgsched.cli import output
from pgsched.cli.watching import Cut
from pgsched.domain.instant import iso
from pgsched.domain.text import printable

NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(minutes=5), "in 5m"),
        (timedelta(hours=2, minutes=30, seconds=10), "in 2h30m"),
        (timedelta(days=400, hours=1), "in 400d1h"),
        (timedelta(milliseconds=300), "now"),
        (timedelta(milliseconds=-300), "now"),
        (timedelta(seconds=-3), "3s ago"),
        (timedelta(days=-1, seconds=-5), "1d ago"),
    ],
)
def test_a_time_is_told_from_now(away: timedelta, words: str) -> None:
    assert output.relative(NOW + away, NOW) == words


def test_a_time_is_shown_in_utc() -> None:
    rome = timezone(timedelta(hours=1))
    assert iso(datetime(2030, 1, 31, 10, 0, 0, 5, tzinfo=rome)) == "2030-01-31T09:00:00.000005Z"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain Größe 日本", "plain Größe 日本"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\ttab", "two\\nlines\\ttab"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_would_move_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_json_is_the_same_value_without_what_moves_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = {"é": "\x1b\x9b\x7f\u202e\u2028 日本"}
    output.say_json(document)
    said = capsys.readouterr().out
    assert json.loads(said) == document
    assert [c for c in said if not c.isprintable() and c != "\n"] == []
    assert "日本" in said


def test_a_table_keeps_every_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a" * 200, "[red]b[/] :smile:"), ("", "c\nd"), ("日本", "e")]
    output.say_table(("first", "second"), rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1] == f"{'a' * 200}  [red]b[/] :smile:"
    assert lines[2].split() == ["-", "c\\nd"]
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_long_text_is_cut_to_one_line() -> None:
    assert output.one_line("a\n b  c", limit=10) == "a b c"
    assert output.one_line("abcdefghijk", limit=10) == "abcdefghi…"


def test_a_table_that_is_too_wide_for_a_screen_keeps_its_first_columns_whole() -> None:
    """Fitted to the screen, of the task's name nothing is left."""
    table = output.table_of(("task", "error"), [("send-email", "x" * 60), ("a", "")])
    console = Console(file=StringIO(), width=30, height=3)
    console.print(Screen(Cut(table)))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().splitlines()[1] == "send-email  " + "x" * 18
