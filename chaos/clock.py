"""The wall clock of one worker, which is wrong: an hour ahead, gaining a hundredth, and jumping when it is told to."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = Path(__file__).with_name("wrong_clock.c")
AHEAD_S = 3600.0
DRIFT = 0.01

READING = "import time; print(time.time(), time.monotonic())"


class WrongClock:
    """What to put in the environment of those who shall have it. Raises: OSError, where it can't be made to work."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        library = folder / "wrong_clock.so"
        self._set(AHEAD_S)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "CHAOS_CLOCK": str(self._file),
        }
        _run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)])
        self._prove()

    def jump(self, chance: float) -> None:
        """To somewhere within two hours of the right time."""
        self._set((chance - 0.5) * 4 * AHEAD_S)

    def _set(self, offset_s: float) -> None:
        """In one write to the file that they have mapped."""
        wrong = struct.pack("3d", offset_s, DRIFT, time.monotonic())
        file = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(file, wrong)
        os.close(file)

    def _prove(self) -> None:
        """Only the wall clock is wrong, or it would prove nothing."""
        reading = _run([sys.executable, "-c", READING], {**os.environ, **self.environment})
        wall, monotonic = (float(word) for word in reading.split())
        if wall - time.time() < AHEAD_S / 2 or abs(monotonic - time.monotonic()) > AHEAD_S / 2:
            raise OSError("the clock stayed right")


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip() or f"{command[0]} failed").splitlines()[-1])
    return done.stdout
