"""Whom the server runs as: ourselves, or an account that root lends it.

Creates no account and opens no folder that is not ours.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

LENT = ("nobody", "postgres", "daemon")
"""Postgres refuses to run as root, who lends it the first of these that exists (initdb wants a name, too)."""


class Reached(NamedTuple):
    """What to call a folder in a command, and the files that the command must inherit for it."""

    name: str
    files: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine."""

    name: str
    uid: int
    gid: int
    is_lent: bool

    @classmethod
    def of_server(cls) -> Account:
        """Ours, or as root the one it lends. Raises: EmbeddedServerError."""
        if os.geteuid() != 0:
            return cls("", os.geteuid(), os.getegid(), is_lent=False)
        for name in LENT:
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, found.pw_uid, found.pw_gid, is_lent=True)
        raise EmbeddedServerError(
            f"Postgres does not run as root, and there is none of the accounts {', '.join(LENT)}"
        )

    def give(self, folder: Path) -> None:
        """Make a folder that we just created this account's."""
        if self.is_lent:
            os.chown(folder, self.uid, self.gid)

    @contextmanager
    def reach(self, folder: Path) -> Generator[Reached]:
        """A folder by a name that works for this account, even below a folder that it may not walk through.

        The kernel takes `/proc/self/fd/N` straight to the opened folder, so /root and the like stay closed. As a
        working directory it would not do: Postgres before 16 leaves it for a moment, and then can't walk back.
        """
        if not self.is_lent:
            yield Reached(str(folder), ())
            return
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Reached(f"/proc/self/fd/{file}", (file,))
        finally:
            os.close(file)

    def process_options(self) -> dict[str, Any]:
        """For `subprocess`: this account, and nothing of our environment, which may hold secrets and PG* settings."""
        environment = {"PATH": os.defpath, "LC_ALL": "C"}
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        options: dict[str, Any] = {"cwd": "/", "env": environment, "stdin": subprocess.DEVNULL}
        if self.is_lent:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(
        self, command: Sequence[str | Path], *, files: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this account. Raises: OSError where it can't be started."""
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            pass_fds=files,
            **self.process_options(),
        )
