"""What was measured: figures, each of several runs, beside their limit of the same rounds."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass
class Figure:
    """One figure; `of` names the figure it is a share of."""

    name: str
    unit: str
    runs: list[float] = field(default_factory=list)
    of: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.runs)


def interleaved(
    measures: Mapping[str, Callable[[], float]], *, rounds: int, unit: str, of: str
) -> list[Figure]:
    """Measure each in turn, round after round: what changes on the machine meanwhile changes it for all."""
    figures = [Figure(name, unit, of=None if name == of else of) for name in measures]
    for _ in range(rounds):
        for figure in figures:
            figure.runs.append(measures[figure.name]())
    return figures


def percentiles(name: str, values_ms: list[float]) -> list[Figure]:
    """The usual three of many values."""
    ordered = sorted(values_ms)
    return [
        Figure(
            f"{name}, p{share}", "ms", [ordered[min(len(ordered) - 1, len(ordered) * share // 100)]]
        )
        for share in (50, 95, 99)
    ]


def table(title: str, figures: list[Figure]) -> str:
    """In Markdown: it reads well on a terminal too."""
    by_name = {figure.name: figure for figure in figures}
    lines = [f"### {title}", "", "| | median | of its limit | runs |", "|---|---:|---:|---|"]
    for figure in figures:
        limit = by_name[figure.of].median if figure.of else 0.0
        share = f"{figure.median / limit:.0%}" if limit else ""
        runs = " ".join(_shown(run) for run in figure.runs)
        lines.append(
            f"| {figure.name} | {_shown(figure.median)} {figure.unit} | {share} | {runs} |"
        )
    return "\n".join([*lines, ""])


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(figures: list[Figure]) -> list[dict[str, Any]]:
    return [{**asdict(figure), "median": figure.median} for figure in figures]
