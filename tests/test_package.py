"""What is built can be installed and used without the checkout; what is imported costs little."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import pgsched

ROOT = Path(__file__).resolve().parents[1]

LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")

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


@pytest.fixture(scope="module")
def clean(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a fresh environment in which only the locked requirements and the wheel are, as in the image."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", str(folder))
    [wheel] = built.glob("*.whl")
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet")
    run(*pip, "--require-hashes", "--requirement", str(ROOT / "requirements.txt"))
    run(*pip, "--no-deps", "--no-index", str(wheel))
    return folder / "bin"


def test_a_clean_environment_runs_it(clean: Path, empty_database: str, tmp_path: Path) -> None:
    """From the first migration to a task that has run."""
    run(str(clean / "python"), "-m", "pip", "check")
    (tmp_path / "tasks.py").write_text(
        "import os, pathlib, signal\n"
        "from pgsched import one_time\n"
        "@one_time('end')\n"
        "def end():\n"
        "    pathlib.Path('ran').touch()\n"
        "    os.kill(os.getppid(), signal.SIGTERM)\n"
    )
    settings = {"database": {"dsn": empty_database}, "tasks": {"modules": ["tasks"]}}
    config = tmp_path / "pgsched.yaml"
    config.write_text(json.dumps(settings))
    for command in (["migrate"], ["schedule", "end", "now"], ["worker"]):
        run(str(clean / "pgsched"), *command, "--config", str(config), cwd=tmp_path)
    assert (tmp_path / "ran").exists()


def test_what_is_locked_is_what_is_asked_for() -> None:
    """`make lock` was run after the last change of the dependencies."""
    locked = {
        canonicalize_name(name): version
        for name, version in re.findall(r"^(\S+)==(\S+)", LOCK, re.MULTILINE)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(each) for each in project["dependencies"]]
    wrong = [
        str(each)
        for each in wanted
        if locked.get(canonicalize_name(each.name), "none") not in each.specifier
    ]
    assert not wrong
    assert "://" not in LOCK, "an index of one machine is none of the others'"


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
