"""Reads what deploy/ ships: alerts, panels, and the expressions in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/rules.yml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/pgsched.json").read_text("utf-8"))

_SELECTOR = re.compile(r"\b(pgsched_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")

OF_THE_SCRAPER = {"job", "instance", "namespace"}
"""Labels that Prometheus adds."""


class Selector(NamedTuple):
    """A metric in an expression, and which values of its labels are asked for."""

    metric: str
    matchers: list[tuple[str, str, str]]


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """All of them, with who uses it."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def selectors(expression: str) -> list[Selector]:
    return [
        Selector(metric, _MATCHER.findall(matchers or ""))
        for metric, matchers in _SELECTOR.findall(expression)
    ]


def labels_used(expression: str) -> set[str]:
    """Those that its series are grouped or matched by."""
    grouped = {name.strip() for names in _GROUPING.findall(expression) for name in names.split(",")}
    matched = {name for each in selectors(expression) for name, _, _ in each.matchers}
    return (grouped | matched) - OF_THE_SCRAPER


def labels_shown(text: str) -> set[str]:
    """Those that a legend or an annotation shows."""
    return set(_LEGEND.findall(text))
