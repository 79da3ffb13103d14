"""What the log's lines look like, told one by one or many at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pgsched.log import Event, Logger, configure_logging

facts = [{"task": "t\\u202e", "instance": "x" * n, "n": n, "kind": "é"} for n in range(300)]
facts.append({"instance": "y" * 9000})
configure_logging(json=sys.argv[1] == "json", level=sys.argv[2])
log = Logger(poller="p")
log.info_each(Event.EXECUTION_COMPLETED, facts)
log.warning(Event.EXECUTION_OVERRAN)
for each in facts:
    log.info(Event.EXECUTION_COMPLETED, **each)
"""


def written(form: str, level: str) -> tuple[list[bytes], list[str]]:
    """What a program has written to its stderr, as it was written piece by piece, and its lines."""
    reading, writing = os.pipe2(os.O_DIRECT)  # each write is a packet
    command = [sys.executable, "-c", PROGRAM, form, level]
    with subprocess.Popen(command, stderr=writing) as process, os.fdopen(reading, "rb", 0) as pipe:
        os.close(writing)
        pieces = list(iter(lambda: pipe.read(65_536), b""))
    assert process.returncode == 0
    return pieces, b"".join(pieces).decode().splitlines()


pytestmark = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="pipes of packets are Linux's")


@pytest.mark.parametrize("form", ["json", "console"])
def test_many_told_at_once_look_as_if_told_one_by_one(form: str) -> None:
    _, lines = written(form, "info")
    at_once, one_by_one = lines[:301], lines[302:]
    assert len(at_once) == len(one_by_one) == 301
    after_time = slice(len('{"timestamp": "2026-11-25T13:57:31.642430Z"'), None)
    assert [line[after_time] for line in at_once] == [line[after_time] for line in one_by_one]
    assert all("\u202e" not in line for line in lines)
    if form == "json":
        first = json.loads(at_once[0])
        assert list(first)[:5] == ["timestamp", "level", "event", "poller", "task"]
        assert (first["level"], first["event"]) == ("info", "execution.completed")


def test_they_are_written_in_pieces_into_which_nobody_elses_lines_can_come() -> None:
    pieces, lines = written("json", "info")
    assert len(pieces) < len(lines) - 200  # those told at once came together
    parts = [piece for piece in pieces if not piece.endswith(b"\n")]
    assert len(parts) == 2 * 2  # of the line that is too long for one, which was told twice
    assert all(b"y" * 3000 in part for part in parts)


def test_what_the_level_leaves_out_is_left_out() -> None:
    _, lines = written("json", "warning")
    assert [json.loads(line)["event"] for line in lines] == ["execution.overran"]


FLOOD = """
import sys
from pgsched.log import Event, Logger, configure_logging

configure_logging(json=True, level="info")
log = Logger()
for number in range(3000):
    log.info(Event.EXECUTION_COMPLETED, number=number, text="x" * 100)
print("done", flush=True)
sys.stdin.readline()
for _ in range(2):
    log.info(Event.EXECUTION_COMPLETED)
"""


def test_lines_that_nobody_read_in_time_are_lost_and_that_is_told() -> None:
    command = [sys.executable, "-c", FLOOD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "done\n"  # it did not wait for a reader
        reading = iter(process.stderr.readline, "")
        kept = [json.loads(next(reading))]
        process.stdin.write("go on\n")
        process.stdin.flush()
        kept += [json.loads(line) for line in reading]
    told = [line for line in kept if line["event"] == "log.lines_lost"]
    assert [line["level"] for line in told] == ["warning"]
    assert len(kept) + told[0]["lines"] == 3000 + 2 + 1
    assert kept[-1]["event"] == "execution.completed"
