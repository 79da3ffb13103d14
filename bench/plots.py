"""`make plots`: the picture of docs/performance.md, from the committed result in bench/reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

REFERENCE = Path("bench/reference/peers.json")
PICTURE = Path("docs/peers.svg")
OURS, THEIRS, LIMIT = "#2e6fd8", "#b9c2cf", "#3f4754"
BARE = "bare SQL loop"


def main() -> None:
    mpl.rcParams.update({"svg.hashsalt": "pgsched", "font.size": 10, "svg.fonttype": "none"})
    results = json.loads(REFERENCE.read_text())["results"]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for axis, measured, title, form in (
        (axes[0], "drain", "async executions/s, two processes", "{:,.0f}"),
        (axes[1], "drain, def", "plain functions/s, two processes", "{:,.0f}"),
        (axes[2], "lateness, p50", "ms from call to start, median", "{:.1f}"),
    ):
        _bars(axis, _medians(results, measured), title, form)
    figure.savefig(PICTURE, metadata={"Date": None})


def _medians(results: dict[str, Any], measured: str) -> dict[str, float]:
    found = {
        name: figure["median"]
        for name, peer in results.items()
        for figure in peer["figures"]
        if figure["name"] == measured or (measured == "drain" and figure["name"] == name)
    }
    return dict(sorted(found.items(), key=lambda item: item[1], reverse="lateness" in measured))


def _bars(axis: plt.Axes, medians: dict[str, float], title: str, form: str) -> None:
    colours = [{"pgsched": OURS, BARE: LIMIT}.get(name, THEIRS) for name in medians]
    bars = axis.barh(list(medians), list(medians.values()), color=colours)
    axis.bar_label(bars, [form.format(value) for value in medians.values()], padding=3, fontsize=9)
    axis.set_title(title, fontsize=10, loc="left")
    axis.margins(x=0.22)
    axis.xaxis.set_visible(False)
    axis.spines[["top", "right", "bottom"]].set_visible(False)


if __name__ == "__main__":
    main()
