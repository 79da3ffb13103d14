"""The embedded server: private, shared while it is used, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgsched.embedded import embedded_server, is_embedded
from pgsched.errors import EmbeddedServerError
from tests.waiting import wait_until

USER = """
import sys, psycopg
from pgsched.embedded import embedded_server
with embedded_server(sys.argv[1], settings={"fsync": "off"}) as conninfo:
    with psycopg.connect(conninfo) as connection:
        print(connection.execute("select pg_postmaster_start_time()").fetchone()[0], flush=True)
    if len(sys.argv) > 2:
        sys.stdin.read()
"""
"""A program that uses the server, and with a second argument keeps using it until its input ends."""


def test_two_forms_of_dsn_ask_for_it() -> None:
    assert is_embedded("embedded")
    assert is_embedded("embedded:/somewhere")
    assert not is_embedded("postgresql://embedded/db")


def test_data_is_kept_between_runs(tmp_path: Path) -> None:
    for expected in (None, "kept"):
        with (
            embedded_server(f"embedded:{tmp_path}/a folder/ü") as conninfo,
            psycopg.connect(conninfo) as connection,
        ):
            connection.execute("create table if not exists t (x text)")
            found = connection.execute("select x from t").fetchone()
            assert (found[0] if found else None) == expected
            connection.execute("insert into t values ('kept')")
    wait_gone(tmp_path / "a folder" / "ü")


def test_programs_share_it_and_the_last_one_out_stops_it(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    first, second = user(folder), user(folder)
    assert started(first) == started(second)
    first.communicate()
    assert server_processes(folder)
    second.communicate()
    wait_gone(folder)


def test_many_programs_that_start_at_once_get_one_server(tmp_path: Path) -> None:
    users = [user(tmp_path / "pg") for _ in range(6)]
    assert len({started(each) for each in users}) == 1
    for each in users:
        each.communicate()
    wait_gone(tmp_path / "pg")


def test_a_killed_user_leaves_no_server_behind(tmp_path: Path) -> None:
    only = user(tmp_path / "pg")
    started(only)
    only.kill()
    only.communicate()
    wait_gone(tmp_path / "pg")


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a server that its keeper died"
)
def test_a_killed_keeper_leaves_no_server_behind_and_the_next_user_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    one = user(folder)
    started(one)
    os.kill(keeper_of(folder), signal.SIGKILL)
    wait_gone(folder)
    one.communicate()
    assert used(folder)
    wait_gone(folder)


def test_a_note_of_a_server_that_is_long_gone_stops_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    assert used(folder)
    wait_gone(folder)
    note = folder / "data" / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{folder}/data\n0\n5432\n\n\n")
    assert used(folder)
    wait_gone(folder)


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(EmbeddedServerError, match="not a folder of pgsched's"),
        embedded_server(f"embedded:{tmp_path}"),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_can_not_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EmbeddedServerError, match="can't be used"),
        embedded_server(f"embedded:{tmp_path}/file/pg"),
    ):
        pass


def test_a_wrong_pgsched_pg_bin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSCHED_PG_BIN", str(tmp_path))
    with (
        pytest.raises(EmbeddedServerError, match="PGSCHED_PG_BIN"),
        embedded_server(f"embedded:{tmp_path}/pg"),
    ):
        pass


def test_the_callers_pipes_are_not_held_open(tmp_path: Path) -> None:
    assert used(tmp_path / "pg")
    wait_gone(tmp_path / "pg")


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
def test_as_root_neither_accounts_nor_parent_folders_change(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    accounts = Path("/etc/passwd").read_bytes()
    before = [
        (path, path.stat().st_mode, path.stat().st_uid) for path in (private, *private.parents)
    ]
    assert used(private / "pg")
    wait_gone(private / "pg")
    assert before == [
        (path, path.stat().st_mode, path.stat().st_uid) for path in (private, *private.parents)
    ]
    assert Path("/etc/passwd").read_bytes() == accounts


def used(folder: Path) -> str:
    """Use the server in a folder for a moment; answers when it was started."""
    command = [sys.executable, "-c", USER, f"embedded:{folder}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def user(folder: Path) -> subprocess.Popen[str]:
    """A program that uses the server in a folder until it is told to end."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, f"embedded:{folder}", "stays"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def started(program: subprocess.Popen[str]) -> str:
    """When the server that it uses was started."""
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line
    return line


def server_processes(folder: Path) -> list[int]:
    """Living processes whose working folder is the server's data: all of its, and nobody else's."""
    shown = subprocess.run(
        ["ps", "-eo", "pid,stat,comm"], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for line in shown.splitlines()[1:]:
        pid, state, command = line.split(None, 2)
        if (
            "postgres" in command
            and not state.startswith("Z")
            and working_folder(int(pid)) == folder / "data"
        ):
            found.append(int(pid))
    return found


def keeper_of(folder: Path) -> int:
    """The parent of the server."""
    pid = (folder / "data" / "postmaster.pid").read_text().split()[0]
    return int(
        subprocess.run(
            ["ps", "-o", "ppid=", "-p", pid], capture_output=True, text=True, check=True
        ).stdout
    )


def working_folder(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def wait_gone(folder: Path) -> None:
    wait_until(lambda: not server_processes(folder), describe=f"the server of {folder} to end")
