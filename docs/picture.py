"""Draws docs/demo.svg from what `make demo` really prints: `python -m docs.picture`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("demo.svg")
WIDTH = 108
SHOWN = 46
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""The fonts that rich's pictures fetch from elsewhere: whoever looks at ours has a monospaced one."""


def main() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "examples.shop"],
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for line in _chosen(printed.splitlines()):
            console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis")
        drawn = console.export_svg(title="make demo")
    PICTURE.write_text(FONT.sub("", drawn), encoding="utf-8")


def _chosen(lines: list[str]) -> list[str]:
    """From the worker's start to the balance, without most of what repeats itself."""
    plain = [Text.from_ansi(line).plain for line in lines]
    start = next(number for number, line in enumerate(plain) if "pgsched worker" in line)
    end = next(number for number, line in enumerate(plain) if "list --state failed" in line)
    seen: dict[str, int] = {}
    chosen = []
    for line, text in zip(lines[start:end], plain[start:end], strict=True):
        kind = re.sub(r"[\d.,]+", "", text)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= (1 if "import-row" in kind or "succeeded" in kind else 2):
            chosen.append(line)
    return chosen[:SHOWN]


if __name__ == "__main__":
    main()
