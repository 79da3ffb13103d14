"""What is built can be installed and used without the checkout; what is imported costs little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import pgsched

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {"psycopg", "pydantic", "structlog", "yaml"}


class Installed(NamedTuple):
    """The wheel in a folder of its own, its dependencies from the test's environment."""

    folder: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **variables}
        return run(*command, cwd=self.folder.parent, environment=environment)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--directory", str(folder), cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "site"
    [wheel] = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return Installed(folder)


def test_the_wheel_holds_the_package_its_types_its_sql_and_its_migrations(built: Path) -> None:
    names = names_in_wheel(built)
    migrations = {path.name for path in (ROOT / "migrations").glob("*.sql")}
    statements = {path.name for path in (ROOT / "pgsched/store/sql").glob("*.sql")}
    assert "pgsched/py.typed" in names
    assert {f"pgsched/migrations/{name}" for name in migrations} <= names
    assert {f"pgsched/store/sql/{name}" for name in statements} <= names
    assert {name.split("/")[0] for name in names} == {
        "pgsched",
        f"pgsched-{pgsched.__version__}.dist-info",
    }


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", cwd=source)
    assert names_in_wheel(source / "dist") == names_in_wheel(built)


def test_the_installed_command_says_its_version(installed: Installed) -> None:
    answer = installed.run(str(installed.folder / "bin" / "pgsched"), "--version")
    assert pgsched.__version__ in answer.stdout
    where = installed.run(sys.executable, "-c", "import pgsched; print(pgsched.__file__)")
    assert where.stdout.startswith(str(installed.folder))


def test_the_installed_command_migrates(installed: Installed, empty_database: str) -> None:
    command = str(installed.folder / "bin" / "pgsched")
    installed.run(command, "migrate", DATABASE_URL=empty_database)
    installed.run(command, "migrate", "--check", DATABASE_URL=empty_database)


def test_importing_pgsched_loads_nothing_heavy(installed: Installed) -> None:
    program = "import json, sys, pgsched; print(json.dumps([*sys.modules]))"
    loaded = set(json.loads(installed.run(sys.executable, "-c", program).stdout))
    assert loaded & {*HEAVY, "asyncio", "typer", "rich", "zoneinfo", "logging"} == set()


def test_help_loads_nothing_heavy(installed: Installed) -> None:
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps([*sys.modules]), file=sys.stderr))\n"
        "sys.argv = ['pgsched', '--help']\n"
        "from pgsched.cli.main import main\n"
        "main()\n"
    )
    answer = installed.run(sys.executable, "-c", program)
    assert "schedule" in answer.stdout
    assert set(json.loads(answer.stderr)) & HEAVY == set()


def names_in_wheel(folder: Path) -> set[str]:
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def run(
    *command: str, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command. Raises: AssertionError, with what it printed, unless it succeeds."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
