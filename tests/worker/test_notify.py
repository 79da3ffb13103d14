from __future__ import annotations

import os
import secrets
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from pgsched.worker.notify import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


def test_a_state_arrives_at_the_socket_that_the_variable_names(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1")
    assert manager.recv(100) == b"READY=1"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets exist on Linux alone")
def test_an_abstract_socket_is_found(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"pgsched-test-{secrets.token_hex(8)}"
    manager.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    notify("STOPPING=1")
    assert manager.recv(100) == b"STOPPING=1"


def test_several_assignments_are_one_datagram(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1\nSTATUS=2 pollers")
    assert manager.recv(100) == b"READY=1\nSTATUS=2 pollers"


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_service_manager_it_says_nothing(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


@pytest.mark.parametrize("address", ["/nowhere/at/all", "no-path", "/" + "x" * 200, "@"])
def test_a_service_manager_that_does_not_listen_stops_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_a_service_manager_that_does_not_read_stalls_nothing(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proven by removing the time-out: the call then waits for ever on the full queue."""
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    monkeypatch.setattr("pgsched.worker.notify.PATIENCE_S", 0.01)
    with pytest.raises(BlockingIOError):
        _fill(path)
    notify("READY=1")


def test_the_variable_stays_for_the_caller_to_clear(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    manager.bind(path)
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify("READY=1")
    assert os.environ["NOTIFY_SOCKET"] == path


def _fill(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        while True:
            sender.sendto(b"x", path)
