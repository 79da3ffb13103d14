"""Reads pages of the documentation: which snippets they show, and what output they promise.

The conventions are in CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^`\n]+)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL
)
_FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")


class Fence(NamedTuple):
    """A fenced block: its language, what else stands after it, its text, and where it begins."""

    language: str
    words: list[str]
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that its first line names."""
        named = _FILE_NAME.match(self.text)
        return named[1] if named else None

    @property
    def is_run(self) -> bool:
        match self.language:
            case "python" | "console":
                return True
            case "yaml":
                return self.file is not None
            case _:
                return self.language == "sql" and "run" in self.words


class Command(NamedTuple):
    """A line after `$ `, and the output shown below it."""

    line: str
    shown: str


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        language, *words = fence["info"].split()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Fence(language, words, textwrap.dedent(fence["text"]), line))
    return found


def commands(fence: Fence) -> list[Command]:
    parts = re.split(r"^\$ ", fence.text.replace("\\\n", ""), flags=re.MULTILINE)
    assert not parts[0].strip(), "a console fence begins with a command"
    return [Command(*part.partition("\n")[::2]) for part in parts[1:]]


def pattern(shown: str) -> re.Pattern[str]:
    """What the output must look like: `...` on a line of its own stands for any lines, within a line for any text."""
    lines = [
        r"(?:.*\n)*?" if line.strip() in {"...", "…"} else _line_pattern(line) + "\n"
        for line in normal(shown).splitlines()
    ]
    return re.compile("".join(lines))


def normal(output: str) -> str:
    """Digits, the width of columns and of rules, and blank lines are not compared."""
    output = re.sub(r"[─━-]{3,}", "---", re.sub(r"\d+", "0", output))
    lines = (" ".join(line.split()) for line in output.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in re.split(r"\.\.\.|…", line))
