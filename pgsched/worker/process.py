"""What every forked process of a worker is given and does first.

A child leaves by `os._exit`: it must never run the parent's clean-up, and a task that hangs must not keep it alive.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from setproctitle import setproctitle

from pgsched.worker.wakeup import Bell

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_OK = 0
EXIT_AT_ONCE = 1
EXIT_BUG = 70

DRAIN = signal.SIGTERM
"""From the supervisor (or an operator) to a poller: stop picking, let running tasks end."""

RETIRE = signal.SIGUSR2
"""To a poller: stop picking, let running tasks end, however long they take. To a reporter: end. Not SIGHUP, which
somebody may send to all of them: a reload that is refused changes nothing.
"""

AT_ONCE = signal.SIGQUIT
"""To a poller: write what is finished and leave."""


def resident_bytes() -> int:
    """The memory that this process holds now; without /proc, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()


def is_there(pid: int) -> bool:
    """Whether a process exists, stopped or not; dead and unburied it doesn't."""
    return _state(pid) not in {"", "Z", "X"}


def is_moving(pid: int) -> bool:
    """Whether it exists and isn't stopped either (SIGSTOP, a debugger)."""
    return _state(pid) not in {"", "Z", "X", "T", "t"}


def _state(pid: int) -> str:
    """The letter that /proc has for it; nothing where there is no such process. Without /proc all are running."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "R" if not Path("/proc/self/stat").exists() and _exists(pid) else ""
    return stat.rpartition(")")[2].split()[0]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def standard_files() -> list[tuple[int, int]]:
    """What stdin, stdout and stderr are. Where a task has closed one, the next connection or file takes its number."""
    found = []
    for number in range(3):
        with suppress(OSError):
            about = os.fstat(number)
            found.append((about.st_dev, about.st_ino))
    return found


def status_word(status: int) -> str:
    """An exit status in words: the signal's name where it was one."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


class Pipe(NamedTuple):
    """Two non-blocking ends."""

    reading: int
    writing: int

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


def new_pipe() -> Pipe:
    pipe = Pipe(*os.pipe())
    for end in pipe:
        os.set_blocking(end, False)
    return pipe


class Signals:
    """Takes note of signals and rings a bell; whoever waits on the bell acts."""

    def __init__(
        self, noted: tuple[signal.Signals, ...], ignored: tuple[signal.Signals, ...] = ()
    ) -> None:
        self.bell = Bell()
        self._received: list[signal.Signals] = []
        self._taken = (*noted, *ignored)
        for number in noted:
            signal.signal(number, self._note)
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self.bell.ringing_end, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a fork, ours or a task's: a child that a task starts must die of SIGTERM like any other."""
        signal.set_wakeup_fd(-1)
        for number in self._taken:
            signal.signal(number, signal.SIG_DFL)

    def _note(self, number: int, _frame: object) -> None:
        self._received.append(signal.Signals(number))

    def received(self) -> list[signal.Signals]:
        """Those that came since the last call, in order."""
        self.bell.hush()
        received, self._received = self._received, []
        return received


def end_stray(pid: int) -> None:
    """End this process where it isn't `pid`: a child that a task forked, and that has come back from the task, would
    go on as a second worker. (`os.register_at_fork` would cost less to ask, and doesn't hear of forks in C.)
    """
    if os.getpid() != pid:
        os._exit(EXIT_BUG)


def fork(title: str, main: Callable[[], int], *, closing: tuple[int, ...] = ()) -> int:
    """Run `main` in a forked process and leave with what it answers; answers the process id to the parent.

    `closing` are descriptors that the child must not keep: the other end of a pipe is told of a death only when the
    last copy is gone.
    """
    pid = os.fork()
    if pid:
        return pid
    status = EXIT_BUG
    try:
        for end in closing:
            os.close(end)
        setproctitle(title)
        status = main()
    except (SystemExit, KeyboardInterrupt):
        status = EXIT_AT_ONCE  # a signal, before this child had handlers of its own
    except BaseException:  # noqa: BLE001 a child must not return into its parent's code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(
                BaseException
            ):  # whoever read it is gone, or a task has put anything in its place
                stream.flush()
        os._exit(status)
