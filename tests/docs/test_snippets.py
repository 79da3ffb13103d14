"""What the documentation shows is run: README.md and docs/, but for the generated reference."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import Fence, commands, fences, normal, pattern
from tests.docs.project import Project

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.parent.name != "reference" and any(fence.is_run for fence in fences(page))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_works(page: Path, tmp_path: Path, database: str) -> None:
    with Project(tmp_path, database) as project:
        for fence in fences(page):
            if fence.is_run:
                try:
                    project.play(fence)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    problem = f"{page.relative_to(ROOT)}:{fence.line}: {error}"
                    raise pytest.fail.Exception(problem, pytrace=False) from None
        project.check_files()


def test_a_page_that_is_wrong_fails(tmp_path: Path, database: str) -> None:
    with Project(tmp_path, database) as project:
        with pytest.raises(AssertionError, match="ZeroDivisionError"):
            project.play(Fence("python", [], "1 / 0\n", 1))
        with pytest.raises(AssertionError, match="exit status 3"):
            project.play(Fence("console", [], "$ exit 3\n", 1))
        with pytest.raises(AssertionError, match="printed:\ntwo"):
            project.play(Fence("console", [], "$ echo two\none\n", 1))
        project.play(Fence("console", ["exit=3"], "$ echo one\none\n$ exit 3\n", 1))
        project.play(Fence("python", [], "# myapp/tasks.py\nimport nothing_of_the_kind\n", 1))
        with pytest.raises(AssertionError, match="nothing_of_the_kind"):
            project.check_files()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("echo no luck", "the worker ended:\nno luck"),
        ("sh -c 'trap \"exit 4\" INT; echo poller.started; sleep 60'", "exit status 4"),
    ],
)
def test_a_worker_that_ends_otherwise_than_by_ctrl_c_fails(
    line: str, problem: str, tmp_path: Path, database: str
) -> None:
    with Project(tmp_path, database) as project, pytest.raises(AssertionError, match=problem):
        project.play(Fence("console", [], f"$ {line}  # Ctrl-C\n", 1))


def test_the_snippets_of_a_page_share_one_namespace(tmp_path: Path, database: str) -> None:
    with Project(tmp_path, database) as project:
        project.play(Fence("python", [], "import asyncio\nwaiting = asyncio.sleep(0, 5)\n", 1))
        project.play(Fence("python", [], "assert await waiting == 5\n", 4))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("task   due\n──── ─────\na  2026-11-24\n", "task due\n────── ───\na         2031-01-02\n"),
        ("first\n...\nlast\n", "first\nsecond\nthird\nlast\n"),
        ("first\n...\n", "first\n"),
        ("picked by …/0 (of ...)\n", "picked by host-17/1 (of 2)\n"),
    ],
)
def test_what_is_not_compared(shown: str, printed: str) -> None:
    assert pattern(shown).fullmatch(normal(printed))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [("one\n", "one\ntwo\n"), ("one\ntwo\n", "one\n"), ("a.c\n", "abc\n"), ("...\nz\n", "a\n")],
)
def test_what_is_compared(shown: str, printed: str) -> None:
    assert not pattern(shown).fullmatch(normal(printed))


def test_a_command_may_go_on_in_the_next_line() -> None:
    fence = Fence("console", [], "$ echo a \\\n    b\na b\n$ true\n", 1)
    assert [command.line for command in commands(fence)] == ["echo a     b", "true"]
