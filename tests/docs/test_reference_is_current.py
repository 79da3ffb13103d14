from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pgsched
from docs.generate import main, outdated, pages
from docs.source import ROOT
from pgsched.cli.main import COMMANDS, app
from pgsched.config import Settings
from pgsched.log import Event
from pgsched.worker.metrics import METRICS

if TYPE_CHECKING:
    from pathlib import Path

    from pgsched.worker.metrics import Metric


def test_the_reference_says_what_the_code_says() -> None:
    assert [str(page.relative_to(ROOT)) for page in outdated()] == [], "run `make docs`"


def test_no_page_is_left_of_what_is_gone() -> None:
    assert {page.name for page in (ROOT / "docs/reference").glob("*.md")} == set(pages())


def test_a_page_that_is_out_of_date_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("docs.generate.ROOT", tmp_path)
    monkeypatch.setattr("docs.generate.REFERENCE", tmp_path)
    assert main(["--check"]) == 1
    assert "events.md is out of date" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("event", list(Event))
def test_every_event_has_its_line_and_something_logs_it(event: Event) -> None:
    [row] = [line for line in pages()["events.md"].splitlines() if f"| `{event}` |" in line]
    level, says = row.strip("| ").split(" | ")[1:]
    assert level.strip()
    assert says.strip()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_has_its_line(metric: Metric) -> None:
    [row] = [line for line in pages()["metrics.md"].splitlines() if f"| `{metric.name}` |" in line]
    assert row.strip("| ").split(" | ")[1:] == [
        metric.kind,
        ", ".join(metric.labels),
        metric.meaning,
    ]


def test_every_config_key_has_its_line() -> None:
    keys = {
        f"{section}.{field.alias or name}"
        for section, found in Settings.model_fields.items()
        for name, field in found.annotation.model_fields.items()  # type: ignore[union-attr]  # a section is a model
    }
    assert keys
    assert [key for key in keys if f"| `{key}` |" not in pages()["config.md"]] == []


def test_every_command_has_its_entry() -> None:
    lines = pages()["cli.md"].splitlines()
    paths = [f"pgsched {command.name}" for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance
        commands = group.typer_instance.registered_commands
        paths += [f"pgsched {group.name} {command.name}" for command in commands]
    assert len(paths) > len(COMMANDS)
    assert [path for path in paths if f"## {path}" not in lines] == []


def test_every_public_name_has_its_entry() -> None:
    lines = pages()["api.md"].splitlines()
    assert [name for name in pgsched.__all__ if f"### {name}" not in lines] == []


def test_every_decision_is_in_the_list() -> None:
    told = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [
        each.name
        for each in decisions
        if f"| [{each.name[:3]}](decisions/{each.name}) |" not in told
    ] == []
