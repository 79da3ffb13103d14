"""What a worker tells its service manager, on a real notify socket."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.waiting import wait_until
from tests.worker.running import Project, Worker

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., Worker]

WATCHDOG_S = 1.0

LONGEST_NEWS_BYTES = 4096


class Heard(NamedTuple):
    at: float
    text: str


class Manager:
    """Hears what is sent to its socket, each datagram with its time."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[Heard] = []
        self._path = str(path)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with self._socket:
            while text := self._socket.recv(2 * LONGEST_NEWS_BYTES):
                self.heard.append(Heard(time.monotonic(), text.decode()))

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._path)
        self._thread.join()

    def texts(self, start: str) -> list[str]:
        return [each.text for each in list(self.heard) if each.text.startswith(start)]

    def wait(self, start: str, *, count: int = 1, holding: str = "") -> str:
        """The last of so many that begin thus."""
        return wait_until(
            lambda: (
                found[-1]
                if len(found := [text for text in self.texts(start) if holding in text]) >= count
                else None
            ),
            describe=lambda: f"{count} × {start} {holding}; heard {self.heard[-10:]}",
        )

    def wait_silence(self, start: str, longest_s: float) -> None:
        """Until none of these has come for so long."""

        def last() -> float:
            return max(each.at for each in list(self.heard) if each.text.startswith(start))

        wait_until(lambda: time.monotonic() - last() > longest_s, describe=f"no more {start}")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Manager]:
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1_000_000)))
    manager = Manager(path)
    yield manager
    manager.close()


def test_a_worker_tells_how_it_does_from_its_start_to_its_end(
    project: Project, start: Start, manager: Manager
) -> None:
    """And goes on telling after a reload, though another process does so then: only the first one is listened to."""
    project.module = "tests.worker.hurried"
    worker = start(processes=2, concurrency=5, shutdown_timeout="20s", polling_interval="300ms")
    told = manager.wait("READY=1")  # the first poller may have begun with a recurring task
    assert re.fullmatch(r"READY=1\nSTATUS=2 of 2 pollers, [01] of 10 slots busy", told)
    assert manager.heard[0].text == "STATUS=starting"
    manager.wait("WATCHDOG=1", count=2)
    project.client.schedule("sleep", "1", 3)
    project.wait_entries("started", "1")
    manager.wait("STATUS=", holding="2 of 2 pollers, 1 of 10 slots busy")
    before_us = time.monotonic_ns() // 1000
    worker.signal(signal.SIGHUP)
    reloading, moment = manager.wait("RELOADING=1").split("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before_us <= int(moment) <= time.monotonic_ns() // 1000
    manager.wait("READY=1", count=2)
    worker.wait_event("worker.reloaded")
    fed = len(manager.texts("WATCHDOG=1"))
    manager.wait("WATCHDOG=1", count=fed + 3)
    project.client.schedule("sleep", "2", 2)
    project.wait_entries("started", "2")
    worker.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    manager.wait("STATUS=", holding="draining: 1 executions on ")
    assert manager.wait("EXTEND_TIMEOUT_USEC=", count=3) == "EXTEND_TIMEOUT_USEC=20000000"
    assert worker.wait_exit() == 0
    assert not manager.texts("WATCHDOG=trigger")


def test_a_refused_reload_is_told(project: Project, start: Start, manager: Manager) -> None:
    worker = start(processes=1)
    manager.wait("READY=1")
    (project.folder / "tasks_of_tests.py").write_text("import no_such_module")
    worker.signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    told = manager.wait("READY=1", count=2)
    assert told.startswith("READY=1\nSTATUS=the last reload was refused: ")
    assert "no_such_module" in told


def test_what_is_told_of_a_refused_reload_holds_no_password_and_is_not_too_long(
    project: Project, start: Start, manager: Manager
) -> None:
    """The password has been changed: the one that refuses knows the new one. systemd drops what has 4096 bytes."""
    project.conninfo += " password='correct horse'"
    worker = start(processes=1)
    config = project.folder / "pgsched-0.yaml"
    config.write_text(config.read_text().replace("correct horse", "battery staple"))
    broken = f"raise RuntimeError('no entry with battery staple' + {'😀' * 1900!r})"
    (project.folder / "tasks_of_tests.py").write_text(broken)
    worker.signal(signal.SIGHUP)
    told = manager.wait("READY=1", count=2)
    assert "no entry with ***" in told
    assert len(told.encode()) < LONGEST_NEWS_BYTES
    [refused] = worker.wait_event("worker.reload_refused")
    assert "no entry with ***" in refused["error"]


def test_the_watchdog_is_fed_only_while_every_poller_moves(
    project: Project, start: Start, manager: Manager
) -> None:
    """Proven by feeding without looking at the boards: it is fed all the time."""
    project.module = "tests.worker.hurried"
    worker = start(processes=2, stall_timeout="60s", polling_interval="300ms")
    manager.wait("WATCHDOG=1", count=2)
    os.kill(worker.pollers[0], signal.SIGSTOP)
    manager.wait_silence("WATCHDOG=1", WATCHDOG_S)
    manager.wait("STATUS=", holding="1 pollers stand still")
    fed = len(manager.texts("WATCHDOG=1"))
    os.kill(worker.pollers[0], signal.SIGCONT)
    manager.wait("WATCHDOG=1", count=fed + 1)
    os.kill(worker.pollers[0], signal.SIGKILL)  # who is started anew stands still for no moment
    manager.wait("WATCHDOG=1", count=fed + 3)
